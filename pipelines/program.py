"""Programs: the signatures that are served, each run in three steps.

A program stands between *request* and *response* tensors, the named arrays that clients send and
get, and *cores*, the exported graphs of the model:

* ``encode``: request tensors to model tensors;
* ``execute``: runs one core, or a loop over several;
* ``decode``: model tensors to response tensors.

Every program exists twice with equal results: in NumPy here, around ONNX Runtime or TensorRT or
Keras, and as TensorFlow ops (``graph()``) inside the SavedModel.

An input of a core ``x`` with an output ``x_next`` is a *state*: a client sends it back with the
next step. All states are zeros before the first step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np

from pipelines.ragged import Arrays, Fields, as_lists, trim

DEFAULT = "serving_default"
NEXT = "_next"

# {"inputs": {name: {"dtype", "shape"[, "default"]}}, "outputs": {...}}: dtype is NumPy's name or
# "string", shape a list with -1 for what is open. An input with a default may be left out; it has
# one value for each row, or one for all of them.
Signature = Mapping[str, Mapping[str, Mapping[str, Any]]]
NOTHING: Mapping[str, Any] = MappingProxyType({})
# Kinds of values that an input of a kind takes, by NumPy's letters.
KINDS = {"f": "fiu", "i": "iu", "u": "iu", "b": "b"}


class Core(Protocol):
    """One exported graph, called with named arrays; what it has no input for is left aside."""

    inputs: tuple[str, ...]
    states: Mapping[str, tuple[int, ...]]  # shape of each without the batch

    def __call__(self, arrays: Arrays) -> Arrays: ...


Cores = Mapping[str, Core]


class Program:
    """One served signature, row by row: what it answers to a row depends on no other row, so that
    a server may run rows of several requests together.

    Attributes:
        signature: request and response tensors, without the states of its cores.
        fields: of request, model and response tensors whose rows differ in length, by name.
        cores: names of the graphs that it runs.
        stateful: whether a client carries the states of the core from step to step, and ``memory``;
            a program that loops over steps keeps them to itself.
        memory: states of its own, besides those of the core: shape of each without the batch.
        shared: inputs that have one value for all rows of a batch, such as the width of a beam:
            requests that differ in them are not run together. ``encode`` hands them on.
    """

    signature: Signature
    fields: Fields = NOTHING
    shared: tuple[str, ...] = ()
    cores: tuple[str, ...] = ("model",)
    stateful: bool = False
    memory: Mapping[str, tuple[int, ...]] = NOTHING

    @property
    def labels_of(self) -> Mapping[str, Sequence[str]]:
        """What the numbers along the last axis of an output belong to, such as the label of each
        probability, by the output's name; a signature has no place for it."""
        return NOTHING

    def encode(self, request: Arrays) -> Arrays:
        """Request tensors to model tensors; the first axis of each is the batch."""
        raise NotImplementedError

    def execute(self, cores: Cores, encoded: Arrays) -> Arrays:
        """Runs the cores; what none of them takes, such as lengths, is handed on to ``decode``."""
        return run_core(cores[self.cores[0]], encoded)

    def decode(self, outputs: Arrays) -> Arrays:
        """What ``execute`` gave to response tensors."""
        raise NotImplementedError

    def examples(self, request: Arrays) -> Iterator[Arrays]:
        """Requests to verify the program by, made from one of ``serving_default``.

        Each is run with the states that the one before gave; a program without states has one.
        """
        yield {n: request[n] for n in self.signature["inputs"] if n in request}

    def answers(self, response: Mapping[str, Any], raw: Sequence[Any]) -> list[dict[str, Any]]:
        """Response tensors for ``raw`` as answers that a person can read, one for each row: lists
        and numbers, unless a program knows better."""
        rows = ({name: values[i] for name, values in response.items()} for i in range(len(raw)))
        return [as_lists(row) for row in rows]

    def graph(self) -> Any:
        """The same three methods on tensors: a ``pipelines.program_graph.GraphProgram``."""
        raise NotImplementedError


def run_core(core: Core, arrays: Arrays) -> Arrays:
    """The outputs of a core, and the arrays that it does not take."""
    kept = {name: array for name, array in arrays.items() if name not in core.inputs}
    return {**kept, **core({name: arrays[name] for name in core.inputs})}


def with_defaults(inputs: Mapping[str, Mapping[str, Any]], request: Arrays) -> Arrays:
    """A request in which what may be left out is filled in, one value for each row.

    Raises:
        ValueError: an input has neither one value nor one for each row.
    """
    optional = [name for name, spec in inputs.items() if "default" in spec]
    if not optional:
        return request
    sizes = [len(array) for name, array in request.items() if array.ndim and name not in optional]
    rows = max(sizes or (request[name].size for name in optional if name in request), default=1)
    filled = dict(request)
    for name in optional:
        given = request.get(name)
        if given is None:
            given = setting_array(inputs[name]["default"], inputs[name]["dtype"])
        if given.size not in (1, rows):
            raise ValueError(
                f"{name} has {given.size} values for {rows} rows; give one, or one for each row"
            )
        values = np.reshape(given, (-1,))
        filled[name] = values if len(values) == rows else np.repeat(values, rows)
    return filled


def setting_array(value: Any, dtype: str) -> np.ndarray:
    """One value, or some, of an input with a default as an array.

    Args:
        value: as a program or a person writes it.
        dtype: of the input: NumPy's name, or "string".

    Raises:
        ValueError: it is of another type, such as 0.5 for an integer, or out of its range.
    """
    array = np.asarray(value)
    kinds = "SUO" if dtype == "string" else KINDS[np.dtype(dtype).kind]
    if array.size and array.dtype.kind not in kinds:
        raise ValueError(f"{value!r} is no {dtype}")
    if dtype != "string":
        try:
            return np.asarray(value, dtype)
        except OverflowError as error:
            raise ValueError(f"{value!r} is out of the range of {dtype}") from error
    array = np.asarray(value, object)
    flat = [one.encode("utf-8") if isinstance(one, str) else one for one in array.reshape(-1)]
    encoded = np.empty(len(flat), object)
    encoded[:] = flat
    return encoded.reshape(array.shape)


def check_shared(shared: tuple[str, ...], request: Arrays) -> None:
    """Refuses a request whose rows differ in what they must have in common.

    Raises:
        ValueError: with the name of the input.
    """
    for name in shared:
        if name in request and len(set(request[name].reshape(-1).tolist())) > 1:
            raise ValueError(f"{name} must be the same for all rows of a request")


def as_step(
    core: Core, rows: int, ids: str = "tokens", outputs: str = "log_probabilities"
) -> tuple[Callable[[np.ndarray, Arrays], tuple[np.ndarray, Arrays]], Arrays]:
    """A core of one step as the searches of ``decoding`` take it.

    Args:
        core: from ids and states to log-probabilities and the next states.
        rows: how many there are.
        ids: name of the input that takes the last id of each row.
        outputs: name of the log-probabilities.

    Returns:
        ``step(ids, states) -> (log_probabilities, states)``, and the states before the first step.
    """

    def step(last: np.ndarray, states: Arrays) -> tuple[np.ndarray, Arrays]:
        found = core({**{n: states[n] for n in core.inputs if n != ids}, ids: last})
        return found[outputs], {name: found[f"{name}{NEXT}"] for name in core.states}

    zeros = {n: np.zeros((rows, *shape), np.float32) for n, shape in core.states.items()}
    return step, zeros


class LoadedProgram:
    """A program with the cores that it runs: what predictors, servers and exports call.

    Attributes:
        program: what it is.
        states: what a client carries from step to step: shape of each without the batch.
        core_states: names of those that are the core's.
        signature: with the states among inputs and outputs.
    """

    def __init__(self, program: Program, cores: Cores) -> None:
        self.program, self.cores = program, cores
        first = cores[program.cores[0]]
        self.core_states = tuple(first.states) if program.stateful else ()
        recurrent = {name: first.states[name] for name in self.core_states}
        self.states = {**recurrent, **program.memory}
        specs = {n: {"dtype": "float32", "shape": [-1, *s]} for n, s in self.states.items()}
        following = {f"{name}{NEXT}": spec for name, spec in specs.items()}
        self.signature = {
            "inputs": {**program.signature["inputs"], **specs},
            "outputs": {**program.signature["outputs"], **following},
        }

    def initial(self, rows: int) -> Arrays:
        """The states before the first step of so many rows."""
        return {n: np.zeros((rows, *shape), np.float32) for n, shape in self.states.items()}

    def encode(self, request: Arrays) -> Arrays:
        """Request tensors, states among them, to model tensors."""
        request = with_defaults(self.signature["inputs"], request)
        check_shared(self.program.shared, request)
        states = {name: request[name] for name in self.core_states}
        return {**states, **self.program.encode(request)}

    def execute(self, encoded: Arrays) -> Arrays:
        """Model tensors to model tensors."""
        return self.program.execute(self.cores, encoded)

    def decode(self, outputs: Arrays) -> Arrays:
        """Model tensors to response tensors, the next states among them."""
        following = {f"{name}{NEXT}": outputs[f"{name}{NEXT}"] for name in self.states}
        return {**trim(self.program.decode(outputs), self.program.fields), **following}

    def run(self, request: Arrays) -> Arrays:
        """Request tensors to response tensors."""
        return self.decode(trim(self.execute(self.encode(request)), self.program.fields))

    def replay(self, run: Callable[[Arrays], Arrays], request: Arrays) -> list[Arrays]:
        """What a form of this program answers to its ``examples``, states carried.

        Args:
            run: that form: request tensors to response tensors.
            request: of ``serving_default``.
        """
        rows = len(next(iter(request.values())))
        states, found = self.initial(rows), []
        for example in self.program.examples(request):
            response = run({**example, **states})
            states = {name: response[f"{name}{NEXT}"] for name in states}
            found.append(response)
        return found


class KerasCore:
    """A Keras model with named inputs and outputs as a ``Core``.

    Args:
        model: of dicts to dicts.
        calls: called with the arrays of each run, where somebody wants to know them.
    """

    def __init__(self, model: Any, calls: Callable[[Arrays], None] = lambda _: None) -> None:
        self.model, self._calls = model, calls
        # Keras flattens a dict in the order of its sorted keys.
        named = dict(zip(sorted(model.input), model.inputs, strict=True))
        self.inputs = tuple(named)
        outputs = set(model.output)
        self.states = {
            name: tuple(tensor.shape[1:])
            for name, tensor in named.items() if f"{name}{NEXT}" in outputs
        }  # fmt: skip

    def __call__(self, arrays: Arrays) -> Arrays:
        self._calls(arrays)
        if any(len(array) == 0 for array in arrays.values()):  # which some layers cannot take
            return {name: _no_rows(tensor) for name, tensor in self.model.output.items()}
        return {name: np.asarray(v) for name, v in self.model.predict_on_batch(arrays).items()}


def _no_rows(tensor: Any) -> np.ndarray:
    return np.zeros((0, *(size or 0 for size in tensor.shape[1:])), tensor.dtype)
