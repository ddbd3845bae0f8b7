"""A bundle of any Keras model: ``serving.export_model``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from models.recurrent import cloned_without_cudnn, rebuilt_without_cudnn
from pipelines.preprocessor import Preprocessor
from pipelines.program import KerasCore, LoadedProgram
from pipelines.ragged import Arrays
from pipelines.tensors import TensorPreprocessor, identifier
from serving.comparing import HeldOut, differences
from serving.errors import ServingError
from serving.export import ExportOptions, export_bundle
from serving.native_onnx import build_onnx
from serving.native_onnx.walk import functional_of, inputs_of, outputs_of

# Rows by which it is seen whether an answer depends on the other rows of its batch.
MIXED_ROWS = 8
ROWS_BOUND, HALF_BOUND = 1e-4, 5e-2
TABLES = (
    keras.layers.TextVectorization, keras.layers.StringLookup, keras.layers.IntegerLookup
)  # fmt: skip
# Where ONNX is needed.
NEED_ONNX = ("onnx", "tensorrt", "triton")


def export_model(
    model: keras.Model,
    bundle: str | Path,
    examples: Any,
    preprocessor: Preprocessor | None = None,
    *,
    formats: Sequence[str] | None = None,
    name: str | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Writes a bundle of a model that Seqloom did not make: each form compared with Keras.

    Besides the examples it is compared on rows of length one, half and double wherever an input has
    an open time axis and Keras itself answers them. Stateful layers begin each request from zeros,
    as Keras's do after ``reset_state``.

    >>> serving.export_model(model, "bundle", examples=x_test[:100])       # doctest: +SKIP

    Args:
        model: Functional or Sequential, of any inputs and outputs; what has no name gets the one
            that Keras gave.
        bundle: directory to write; a bundle that is there gets a further version.
        examples: inputs of at least one row that the model can answer: see
            ``pipelines.tensor_files.tensor_rows``, or the path of a file; with a preprocessor a
            list of its raw inputs.
        preprocessor: that of the model; None for tensors in, tensors out.
        formats: of ``serving.export.FORMATS``. If None, SavedModel and ONNX, and what this model
            cannot be written as is left out and named in ``refused``.
        name: of the model in URLs; by default the model's own.
        options: further fields of ``ExportOptions``: precisions, compute_capabilities...

    Returns:
        The manifest, with ``remarks``, and ``refused`` by format.

    Raises:
        ServingError: a format that was asked for cannot be written, and which layer is why; or the
            rows of a batch depend on one another. Nothing is written then.
        DataError: the examples do not go with the inputs.
    """
    wanted = ExportOptions(formats or ("savedmodel", "onnx"), lenient=formats is None, **options)
    return export_keras_model(model, Path(bundle), examples, preprocessor, wanted, name)


def export_keras_model(
    model: keras.Model,
    bundle: Path,
    examples: Any,
    preprocessor: Preprocessor | None,
    options: ExportOptions,
    name: str | None,
) -> dict[str, Any]:
    """``export_model``, with its options in one."""
    core, remarks = named_core(model)
    if preprocessor is None:
        # In the model's own order, by which examples may be given; a dict would sort them.
        order = _named(inputs_of(functional_of(model)))
        preprocessor = TensorPreprocessor(_signature(core, order))
        raw = preprocessor.rows(examples)
        alike = _alike(raw)
        if not remarks:
            _check_copy(model, core, preprocessor.to_request(alike[:MIXED_ROWS]))
        _check_rows(core, preprocessor, alike)
        raw += _edges(core, preprocessor, raw[0])
    else:
        raw, alike = [*examples, *preprocessor.edge_inputs()], None
    needed = [one for one in options.formats if one in NEED_ONNX]
    if needed and not options.lenient and (reason := onnx_reason(core)):
        raise ServingError(f"{reason}; leave out --format {needed[0]}, or write the SavedModel")
    manifest = export_bundle(
        {"model": core}, preprocessor, bundle, options, HeldOut(raw, alike=alike),
        {"name": identifier(name or model.name), "task": None, "kind": "tensors", "config": {},
         "metrics": {}, "baseline": None, "remarks": remarks},
    )  # fmt: skip
    return {**manifest, "bundle": str(bundle)}


def named_core(model: keras.Model) -> tuple[keras.Model, list[str]]:
    """A float32 copy of a model from a dict of inputs to a dict of outputs.

    Returns:
        The copy, whose layers keep no state between calls and use no cuDNN kernel, and sentences
        on what is other than in the model.

    Raises:
        ServingError: a layer cannot be made again from its config; the message names it.
    """
    functional = functional_of(model)
    stateful = [
        layer.name
        for layer in functional._flatten_layers(include_self=False)
        if getattr(layer, "stateful", False) and layer.name
    ]
    named = _named_model(model)
    for layer in named.layers:
        _check_copied(layer)
    if not stateful and all(tensor.shape[0] is None for tensor in named.inputs):
        return rebuilt_without_cudnn(named), []

    def fresh(layer: keras.layers.Layer) -> keras.layers.Layer:
        copy = cloned_without_cudnn(layer)
        for inner in [copy, *copy._flatten_layers(include_self=False)]:
            if getattr(inner, "stateful", False):
                inner.stateful = False
        return copy

    free = {
        name: keras.Input((*tensor.shape[1:],), dtype=tensor.dtype, name=name)
        for name, tensor in inputs_of(named).items()
    }
    copy = keras.models.clone_model(named, input_tensors=free, clone_function=fresh, recursive=True)
    _copy_weights(named, copy)
    remarks = [
        f"layer {name!r} is stateful: here each request begins from zeros"
        for name in dict.fromkeys(stateful)
    ]
    return copy, remarks


def _named_model(model: keras.Model) -> keras.Model:
    """The layers of a model themselves, between a dict of inputs and a dict of outputs."""
    functional = functional_of(model)
    inputs, outputs = _named(inputs_of(functional)), _named(outputs_of(functional))
    return keras.Model(inputs, outputs, name=identifier(model.name))


def _check_copy(model: keras.Model, core: keras.Model, request: Arrays) -> None:
    """Refuses a model whose copy, with which the exports are compared, answers something else.

    A layer may hold what is neither in its config nor among its weights, such as the vocabulary
    that a TextVectorization was adapted to.
    """
    found = differences(KerasCore(core)(request), KerasCore(_named_model(model))(request))
    half = any(layer.compute_dtype != "float32" for layer in model.layers)
    if not found["parity"] <= (HALF_BOUND if half else ROWS_BOUND) or found["agreement"] < 1:
        raise ServingError(
            f"a copy of model {model.name!r}, made from its layers' configs and weights, answers "
            f"otherwise (by {found['parity']:.2g}): a layer holds what is in neither, such as an "
            "adapted vocabulary; put it into the layer's config"
        )


def _copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Of all layers; the states of stateful layers are no weights of the copy."""
    for mine, theirs in zip(source.layers, target.layers, strict=True):
        theirs.set_weights(mine.get_weights())


def _check_copied(layer: keras.layers.Layer) -> None:
    """Refuses a layer that cannot be made again, which every export does."""
    if isinstance(layer, keras.layers.Lambda):
        raise ServingError(
            f"layer {layer.name!r} is a Lambda, whose Python function cannot be exported; write it "
            "with keras.ops in the model itself, or as a layer of its own"
        )
    if isinstance(layer, TABLES):
        raise ServingError(
            f"layer {layer.name!r} ({type(layer).__name__}) looks words up in a table, which ONNX "
            "does not have; export the model of what it gives, and look up before the request"
        )
    try:
        type(layer).from_config(layer.get_config())
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise ServingError(
            f"layer {layer.name!r} ({type(layer).__name__}) cannot be made again from its config "
            f"({reason}); give it get_config, as keras.Layer's documentation shows"
        ) from error


def onnx_reason(core: keras.Model) -> str | None:
    """Why a model cannot be written as ONNX, naming the layer; None if it can."""
    try:
        build_onnx(core)
    except ServingError as error:
        return str(error)
    return None


def _named(tensors: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, tensor in tensors.items():
        wanted = key = identifier(name)
        number = 1
        while key in found:
            key, number = f"{wanted}_{number}", number + 1
        found[key] = tensor
    return found


def _signature(core: keras.Model, order: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Names, dtypes and shapes of a core's tensors; -1 is open."""
    inputs = inputs_of(core)

    def specs(tensors: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: {"dtype": tensor.dtype, "shape": [-1, *(size or -1 for size in tensor.shape[1:])]}
            for name, tensor in tensors.items()
        }

    return {"inputs": specs({name: inputs[name] for name in order}), "outputs": specs(core.output)}


def _alike(raw: Sequence[Arrays]) -> list[Arrays]:
    """The rows of the commonest shapes."""
    groups: dict[Any, list[Arrays]] = {}
    for row in raw:
        groups.setdefault(tuple((n, x.shape) for n, x in sorted(row.items())), []).append(row)
    return max(groups.values(), key=len)


def _edges(core: keras.Model, preprocessor: TensorPreprocessor, row: Arrays) -> Iterator[Arrays]:
    """A row cut to one step and to half, and doubled, where Keras answers that."""
    specs = preprocessor.signature["inputs"]
    timed = [name for name, spec in specs.items() if spec["shape"][1:2] == [-1]]
    program = LoadedProgram(preprocessor, {"model": KerasCore(core)})
    for new_size in (lambda n: 1, lambda n: (n + 1) // 2, lambda n: 2 * n) if timed else ():
        edge = dict(row)
        for name in timed:
            steps = np.arange(new_size(len(row[name]))) % len(row[name])
            edge[name] = row[name][steps]
        try:
            found = program.run(preprocessor.to_request([edge]))
        except Exception:  # noqa: BLE001  whatever a layer says to a size that it does not have
            continue
        if all(np.isfinite(x).all() for x in found.values() if x.dtype.kind == "f"):
            yield edge


def _check_rows(core: keras.Model, preprocessor: TensorPreprocessor, raw: Sequence[Arrays]) -> None:
    """Refuses a model whose answer to a row depends on the others: a server joins requests."""
    program = LoadedProgram(preprocessor, {"model": KerasCore(core)})
    rows = raw[:MIXED_ROWS]
    together = program.run(preprocessor.to_request(rows))
    for i, row in enumerate(rows):
        alone = program.run(preprocessor.to_request([row]))
        mine = {name: values[i : i + 1] for name, values in together.items()}
        if not (found := differences(alone, mine)["parity"]) <= ROWS_BOUND:
            raise ServingError(
                f"the answer to a row depends on the rows that it is batched with (by {found:.2g});"
                " a server joins requests, so such a model is not exported"
            )
