"""Requests of random shapes, sizes and types to one kind of model, in a process of its own.

``python size_fuzz.py KIND REQUESTS SEED DIRECTORY`` makes a small model of the kind in the
directory and asks it in six ways: ONNX Runtime and SavedModel, each from Python, over REST and over
gRPC, by several threads at once; ``-`` as the kind asks the bundle that the directory is. A native
kernel that aborts ends this process, so that whoever started it sees the signal.
"""

import json
import random
import resource
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

import httpx
import numpy as np

from serving.client import Client
from serving.errors import RequestError
from serving.predictor import OnnxModel
from serving.runtime.loading import find_model
from serving.runtime.savedmodel_backend import SavedModelBackend
from serving.runtime.servables import ModelSettings
from serving.runtime.server import ServerOptions, running

SMALL = {"layers": 1, "units": 4, "epochs": 1}
TEXT = {**SMALL, "embedding_dim": 4}
TAGS = {**TEXT, "character_dim": 4, "character_units": 4, "form_dim": 4}
SERIES = {**SMALL, "segment": 6}
WINDOW = {"lookback": 24, "horizon": 6}
# By kind of model: its task, where its examples come from, settings, and how data are read.
KINDS = {
    "text-gru": ("sentiment", "synthetic:100", {**TEXT, "cell": "gru"}, {}),
    "text-lstm": ("sentiment", "synthetic:100", {**TEXT, "cell": "lstm"}, {}),
    "forecast": ("forecast", "synthetic:600", SERIES, WINDOW),
    "residual": ("anomaly", "synthetic:1000", {**SMALL, "scorer": "residual"}, {}),
    "autoencoder": ("anomaly", "synthetic:1000", {**SMALL, "scorer": "autoencoder"}, {}),
    "tagging": ("tagging", "synthetic:80", TAGS, {}),
    "tagging-softmax": ("tagging", "synthetic:80", {**TAGS, "head": "softmax"}, {}),
    "intent": ("intent", "synthetic:80", TAGS, {}),
    "language": ("language", "synthetic:80", TEXT, {}),
    "translation": ("translation", "synthetic:200", TEXT, {}),
    "music": ("music", "synthetic:20", {**SMALL, "output": "independent"}, {}),
    "music-nade": ("music", "synthetic:20", {**SMALL, "nade_units": 4}, {}),
}
THREADS, TOLERANCE, MEMORY = 6, 2e-4, 16 * 2**30
TEXTS = [
    "",
    "a",
    "Ann\x1fmet\x1f\x1fBob",
    "\x1f",
    "\x02a\x03 b",
    "http://a.b/c, a@b.c 1,000 don't",
    "ann sees bob.",
    "good and bad",
    "\u16a0 \U0001f600",
    "x " * 40,
    "\x00",
    "A" * 90,
]
# For inputs that have a default: what is valid, and what is not.
SETTINGS = {
    "reject_below": ([0.0, 0.3, 1.0], [2.0, -0.1, np.nan]),
    "repetition_penalty": ([1.0], [-1.0, np.nan]),
    "temperature": ([0.0, 0.5, 1.0], [-1.0, np.nan, np.inf]),
    "top_k": ([0, 1, 3], [-1, 2**40]), "top_p": ([0.5, 1.0], [-0.5, 7.0, np.nan]),
    "max_tokens": ([1, 3, 9], [-1, 2**40]), "seed": ([0, 7], []),
    "beam": ([1, 2, 3], [0, -1, 2**30]), "n_best": ([1, 2], [0, -3, 2**30]),
    "max_length": ([1, 4], [-1, 2**30]), "steps": ([1, 5], [0, -1, 2**30]),
}  # fmt: skip


# For inputs that have none: the numbers that there are, and one that makes them invalid.
NUMBERS = {"notes": ([-1, 0, 0, 21, 60, 64, 67, 108], 109)}


def build(kind, directory):
    """A bundle with both formats."""
    if kind == "-":
        return directory
    from tasks.stages.exporting import export
    from tasks.stages.run_directory import Run
    from tasks.stages.training import train

    if (directory / "bundle").is_dir():
        return directory / "bundle"
    name, source, settings, reading = KINDS[kind]
    task, run = import_module("tasks").get(name), Run(directory / "run")
    data = task.data_options(source, **reading)
    train(task, data, task.with_settings(task.settings, settings), run)
    export(run, directory / "bundle")
    return directory / "bundle"


# --- requests ----------------------------------------------------------------------------------


def drawn_request(draw, signature):
    """A request that may be answered: any number of rows, nought included, and of steps."""
    rows = draw.choice([0, 0, 1, 1, 1, 2, 3, 7, 35])
    opened = draw.choice([0, 1, 1, 2, 5, 17, 40])
    request = {}
    for name, spec in signature["inputs"].items():
        shape = [opened if size == -1 else size for size in spec["shape"]]
        shape[0] = rows
        if "default" in spec:
            if draw.random() < 0.4 and spec["dtype"] != "string":
                valid, invalid = SETTINGS.get(name, ([1], [0]))
                value = draw.choice(invalid if invalid and draw.random() < 0.15 else valid)
                value = np.array(value)
                request[name] = np.full(
                    draw.choice([[], [1], [rows]]),
                    value,
                    spec["dtype"]
                    if np.can_cast(value.dtype, spec["dtype"], "same_kind")
                    else value.dtype,
                )
            continue
        request[name] = drawn_array(draw, spec["dtype"], shape)
        if name in NUMBERS and draw.random() < 0.9:
            numbers, wrong = NUMBERS[name]
            valid = np.random.default_rng(draw.randrange(2**32)).choice(numbers, shape)
            request[name] = valid.astype(spec["dtype"])
            if valid.size and draw.random() < 0.1:
                request[name].reshape(-1)[-1] = wrong
    return request


def drawn_array(draw, dtype, shape):
    if dtype == "string":
        count = int(np.prod(shape))
        array = np.empty(count, object)
        array[:] = [draw.choice(TEXTS).encode() for _ in range(count)]
        return array.reshape(shape)
    numbers = np.random.default_rng(draw.randrange(2**32))
    if np.dtype(dtype).kind == "i":
        top = draw.choice([3, 3, 3, 100, 2**31 - 1])
        return numbers.integers(draw.choice([0, 0, -top]), top, shape).astype(dtype)
    array = numbers.normal(size=shape).astype(dtype) * draw.choice([1, 1, 1, 1e3, 1e30])
    if array.size and draw.random() < 0.1:
        array.reshape(-1)[draw.randrange(array.size)] = draw.choice([np.nan, np.inf, -np.inf])
    return array.astype(dtype)


def wounded(draw, request):
    """The request with one array of another shape, type or layout; or one too few or too many."""
    request = dict(request)
    if draw.random() < 0.1:
        request["other"] = np.zeros(2, np.float32)
        return request
    if not request:
        return request
    name = draw.choice(sorted(request))
    array = request[name]
    wounds = [
        lambda: None,
        lambda: array[None], lambda: array.reshape(-1), lambda: array[..., None],
        lambda: np.array(b"a", object) if array.dtype == object else array.dtype.type(2),
        lambda: array[:0], lambda: np.concatenate([array, array]), lambda: array[:1],
        lambda: array[..., :1], lambda: array[..., :0], lambda: array[:, :0],
        lambda: np.concatenate([array, array], -1),
        lambda: np.zeros(array.shape, draw.choice(["float64", "int32", "int64", "bool", "uint8"])),
        lambda: np.full(array.shape, b"1", object),
        lambda: np.asfortranarray(array), lambda: np.repeat(array, 2, 0)[::2],
    ]  # fmt: skip
    try:
        changed = draw.choice(wounds)()
    except (IndexError, ValueError):
        return request  # it has no such axis
    if changed is None:
        del request[name]
    else:
        request[name] = np.asarray(changed)
    return request


# --- answers ------------------------------------------------------------------------------------


def outcome(run):
    """What was answered, or None where the request was refused."""
    try:
        return run()
    except RequestError as error:
        refusal = error
    assert refusal.code not in ("INTERNAL", "UNKNOWN", "UNAVAILABLE"), refusal
    assert str(refusal), "an error without a word"
    return None


def assert_same(got, want, what):
    assert got.keys() == want.keys(), what
    for name, array in want.items():
        other = np.asarray(got[name], array.dtype)
        assert other.shape == array.shape, (what, name, other.shape, array.shape)
        if array.dtype.kind == "f":
            with np.errstate(invalid="ignore"):
                far = np.abs(other - array) > TOLERANCE * (1 + magnitude(array))
            assert not (far & np.isfinite(array)).any(), (what, name, other, array)
            assert (np.isfinite(other) == np.isfinite(array)).all(), (what, name, other, array)
        else:
            assert (other == array).mean() > 0.99 if array.size else True, (what, name)


def magnitude(array):
    """The largest finite number of each row: what rounding is a share of, where numbers cancel."""
    finite = np.abs(np.where(np.isfinite(array), array, 0))
    inner = tuple(range(1, finite.ndim))
    return finite.max(inner, keepdims=True, initial=0) if inner else finite


def check_rows(run, signature, request, answer):
    """Rows are those of each row asked alone; no rows have the shapes that some would have."""
    rows = max(len(request[n]) for n, s in signature["inputs"].items() if "default" not in s)
    for name, spec in signature["outputs"].items():
        array, dims = answer[name], spec["shape"]
        assert array.dtype == (object if spec["dtype"] == "string" else spec["dtype"]), name
        assert array.ndim == len(dims), (name, array.shape)
        fits = [dim in (-1, size) for dim, size in zip(dims[1:], array.shape[1:], strict=True)]
        assert all(fits), (name, array.shape, dims)
        assert len(array) == rows, (name, array.shape, rows)
    for row in {0, rows - 1} if rows > 1 else ():
        one = {
            name: array[row : row + 1] if array.ndim and len(array) == rows else array
            for name, array in request.items()
        }
        alone = run(one)
        mine = {}
        for name, array in alone.items():  # which is not padded to the longest row of the request
            inner = tuple(slice(size) for size in array.shape[1:])
            mine[name] = answer[name][(slice(row, row + 1), *inner)]
        assert_same(mine, alone, f"row {row} of {rows}")


class Fuzz:
    """One model, loaded twice in this process and served by name.

    Args:
        bundle: with one format or both.
        server: that serves each by its name, ``onnx`` and ``savedmodel``.
    """

    def __init__(self, bundle, server):
        self.server, self.local = server, threading.local()
        onnx = OnnxModel(bundle / "onnx" / "1", threads=1)
        self.backends = {"onnx": onnx.run}
        self.signatures = {name: program.signature for name, program in onnx.programs.items()}
        if (bundle / "savedmodel").is_dir():
            saved = SavedModelBackend(bundle / "savedmodel" / "1", threads=1)
            assert self.signatures.keys() <= saved.signatures.keys()
            self.backends["savedmodel"] = saved.run
        self.answered = self.refused = 0

    def client(self, way, name):
        """One for each thread."""
        key = f"{way} {name}"
        if not hasattr(self.local, key.replace(" ", "_")):
            port = self.server.grpc_port if way == "grpc" else self.server.rest_port
            url = f"{'grpc' if way == 'grpc' else 'http'}://127.0.0.1:{port}"
            client = (
                Client(url, name, retries=0)
                if way == "grpc"
                else httpx.Client(base_url=url, timeout=60)
            )
            setattr(self.local, key.replace(" ", "_"), client)
        return getattr(self.local, key.replace(" ", "_"))

    def one(self, seed):
        draw = random.Random(seed)
        signature_name = draw.choice(sorted(self.signatures))
        backend, way = draw.choice(sorted(self.backends)), draw.choice(["python", "rest", "grpc"])
        signature = self.signatures[signature_name]
        request, sound = drawn_request(draw, signature), draw.random() < 0.6
        if not sound:
            request = wounded(draw, request)
        try:
            self.ask(backend, way, signature_name, request)
        except Exception as error:
            shapes = {name: (a.shape, str(a.dtype)) for name, a in request.items()}
            raise AssertionError(f"{seed}: {backend} {way} {signature_name} {shapes}") from error

    def ask(self, backend, way, name, request):
        def run(asked):
            return self.backends[backend](asked, name)

        want = outcome(lambda: run(request))
        if want is None:
            self.refused += 1
        else:
            self.answered += 1
            check_rows(run, self.signatures[name], request, want)
        if way == "grpc":
            client = self.client(way, backend)
            got = outcome(lambda: client.predict(request, name))
            assert (got is None) == (want is None), "Python and gRPC disagree"
            if want is not None:
                assert_same(got, want, "gRPC")
        if way == "rest":
            self.ask_rest(backend, name, request, want)

    def ask_rest(self, backend, name, request, want):
        columns = {key: as_json(array) for key, array in request.items()}
        body = json.dumps({"signature_name": name, "inputs": columns})
        reply = self.client("rest", backend).post(f"/v1/models/{backend}:predict", content=body)
        assert reply.status_code in (200, 400, 429), reply.content
        # JSON knows neither types nor the shape of what is empty.
        if want is None or any(array.size == 0 and array.ndim > 1 for array in request.values()):
            return
        if all(array.dtype in ("float32", "int64", "int32", object) for array in request.values()):
            assert reply.status_code == 200, reply.content
            found = json.loads(reply.content.decode("utf-8", "replace"))["outputs"]
            found = (
                found if isinstance(found, dict) and len(want) > 1 else dict.fromkeys(want, found)
            )
            for key, array in want.items():
                if array.dtype != object and array.size:
                    assert_same({key: found[key]}, {key: array}, "REST")
                assert len(found[key]) == len(array)


def as_json(array):
    if array.dtype != object:
        return array.tolist()
    texts = np.frompyfunc(lambda text: text.decode("utf-8", "replace"), 1, 1)(array)
    return texts.tolist() if array.ndim else str(texts)


def main():
    # A request that asks for all memory fails here, and not the machine.
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    kind, count, seed, directory = sys.argv[1], *map(int, sys.argv[2:4]), Path(sys.argv[4])
    began = time.monotonic()
    bundle = build(kind, directory)
    built = time.monotonic()
    found = [name for name in ("onnx", "savedmodel") if (bundle / name).is_dir()]
    models = [ModelSettings(name, find_model(bundle, name)) for name in found]
    with running(models, options=ServerOptions(rest_port=0, grpc_port=0)) as server:
        fuzz = Fuzz(bundle, server)
        with ThreadPoolExecutor(THREADS) as pool:
            for _ in pool.map(fuzz.one, range(seed * 10**7, seed * 10**7 + count)):
                pass
    seconds = {"build": round(built - began), "ask": round(time.monotonic() - built)}
    print(json.dumps({"answered": fuzz.answered, "refused": fuzz.refused, "seconds": seconds}))


if __name__ == "__main__":
    main()
