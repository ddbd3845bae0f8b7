"""A byte model in NumPy that writes, and servers of it, for the tests beside this file."""

import threading
import time
from contextlib import contextmanager

import numpy as np
from live_server import runtime_of

from pipelines.detokenizing import Detokenizer
from pipelines.text import END, TextEncoder
from pipelines.writing import WritingProgram
from serving.programs import CheckedProgram
from serving.runtime.core_backends import ProgramRunner
from serving.runtime.runners import Backend
from serving.runtime.server import ServerOptions, running

ENCODER = TextEncoder(level="byte", lowercase=False, strip_markup=False, max_length=10**6).adapt([])
SIZE, KINDS = len(ENCODER.vocabulary), 7
# What is written most: letters of one, two and four bytes, in parts that come in any order too.
COMMON = [ENCODER.encode(text)[i] for text in ("ab .", "é", "😀") for i in range(1, len(
    ENCODER.encode(text)) - 1)]  # fmt: skip


def table(seed=0):
    """``<float32>[ids, kinds, ids]``: log-probabilities after an id, by the kind of the state."""
    rng = np.random.default_rng(seed)
    values = np.full((SIZE, KINDS, SIZE), -20.0)
    values[..., COMMON] = rng.normal(scale=1.5, size=(SIZE, KINDS, len(COMMON)))
    values[..., END] = -2.0
    values[..., :END] = -np.inf
    values -= np.log(np.exp(values).sum(-1, keepdims=True))
    return values.astype(np.float32)


TABLE = table()


class ChainCore:
    """One step; what follows depends on all ids so far, by a state.

    Args:
        seconds: what a step takes at least.
        endless: whether it never ends a text.

    Attributes:
        gate: closed, steps wait.
        fail_at: ids after which a row's log-probabilities are NaN.
        broken: steps raise.
        sizes: number of rows of each step.
    """

    inputs, states = ("tokens", "h"), {"h": (2,)}

    def __init__(self, seconds=0.0, endless=False):
        self.seconds, self.fail_at, self.broken, self.sizes = seconds, None, False, []
        self.table = TABLE
        if endless:
            self.table = TABLE.copy()
            self.table[..., END] = -np.inf
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, arrays):
        self.gate.wait(60)
        time.sleep(self.seconds)
        if self.broken:
            raise RuntimeError("the device is lost")
        tokens, h = arrays["tokens"], arrays["h"]
        self.sizes.append(len(tokens))
        mixed = (h[:, 0] * 3 + tokens) % 1009
        values = self.table[tokens, mixed.astype(int) % KINDS]
        count = h[:, 1] + 1
        if self.fail_at is not None:
            values = np.where((count > self.fail_at)[:, None], np.nan, values)
        return {"log_probabilities": values, "h_next": np.stack([mixed, count], 1)}


class ChainReader(ChainCore):
    """The same, many ids at once."""

    def __call__(self, arrays):
        self.gate.wait(60)
        if self.broken:
            raise RuntimeError("the device is lost")
        self.sizes.append(arrays["tokens"].shape[1])
        h = arrays["h"]
        for ids in arrays["tokens"].T:
            h = np.stack([(h[:, 0] * 3 + ids) % 1009, h[:, 1] + 1], 1)
        return {"h_next": h.astype(np.float32)}


class Bytes(WritingProgram):
    """``generate`` of bytes."""

    end = END
    reader = "reader"
    settings = {
        "temperature": 1.0, "top_k": 0, "top_p": 1.0, "repetition_penalty": 1.0,
        "max_tokens": 100, "stop": "", "seed": 0,
    }  # fmt: skip

    def prompts(self, request):
        return [np.array(ENCODER.encode(text)[:-1], np.int32) for text in request["text"]]

    def detokenizer(self):
        return Detokenizer.of_encoder(ENCODER)


def loaded(core=None, reader=None):
    """The program with its cores."""
    cores = {"step": core or ChainCore(), **({"reader": reader} if reader else {})}
    return CheckedProgram(Bytes(), cores)


def request_of(texts, **settings):
    """Request tensors."""
    dtypes = {float: np.float32, int: np.int64, str: object}
    found = {"text": np.array([text.encode() for text in texts], object)}
    for name, values in settings.items():
        values = values if isinstance(values, list) else [values] * len(texts)
        found[name] = np.array(values, dtypes[type(Bytes.settings[name])])
    return found


def alone(text, **settings):
    """What is written of one text, and its log-probability, with nobody else there."""
    found = loaded().run(request_of([text], **settings))
    return found["continuation"][0].decode(), float(found["log_probability"][0])


class WritingBackend(Backend):
    """Version 1 of model "m"."""

    name, version = "m", 1

    def __init__(self, core):
        super().__init__({"generate": ProgramRunner(loaded(core))})

    @property
    def scheduler(self):
        return self.runners["generate"].scheduler


@contextmanager
def serving(core=None, limits=None, **options):
    """A live server of the model on both ports, whose ``scheduler`` writes."""
    backend = WritingBackend(core or ChainCore())
    runtime, models = runtime_of([backend])
    if limits is not None:
        runtime.generation = limits
    runtime.schedule("m", backend)
    with running(models, runtime, ServerOptions(rest_port=0, grpc_port=0, **options)) as server:
        server.scheduler = backend.scheduler
        yield server


def until(condition, seconds=20.0):
    """Waits for it."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.005)
