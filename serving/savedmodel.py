"""A SavedModel with the preprocessing inside, as TF Serving mounts it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from pipelines.preprocessor import Preprocessor
from pipelines.program import NEXT, KerasCore, LoadedProgram
from pipelines.program_graph import GraphCore, GraphProgram, Tensors, with_defaults
from pipelines.ragged import Arrays
from serving import protos
from serving.declared import write_programs
from serving.errors import ServingError
from serving.fast_recurrent import fast_copy
from serving.graph_parts import in_parts
from serving.programs import core_fields
from serving.tensors import fill_proto

if TYPE_CHECKING:
    import keras

# What a CPU server cannot execute (cuDNN), and what only the exporting process can (Python).
FORBIDDEN_NODES = re.compile(r"CudnnRNN|PyFunc")
WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"


class ServingModule(tf.Module):
    """Every program of a preprocessor as a signature: encode, execute, decode.

    Args:
        cores: Keras models by name.
        preprocessor: whose programs are served.
    """

    def __init__(self, cores: Mapping[str, keras.Model], preprocessor: Preprocessor) -> None:
        super().__init__()
        # The variables as TensorFlow's own, each once: the models themselves, hidden in functions
        # from what tf.Module looks through, would save Keras's wrapping of them as well.
        self.saved_variables = [v.value for model in cores.values() for v in model.variables]
        loadable = {name: KerasCore(model) for name, model in cores.items()}
        programs = preprocessor.programs
        graphs = {
            name: GraphCore(core.inputs, core.states, in_parts(core, core_fields(programs, name)))
            for name, core in loadable.items()
        }
        self.programs: dict[str, GraphProgram] = {}
        self.functions = {}
        for name, program in programs.items():
            if set(program.cores) <= set(cores):
                self.programs[name] = program.graph()
                loaded = LoadedProgram(program, loadable)
                self.functions[name] = _signature(loaded, self.programs[name], graphs)


def _signature(loaded: LoadedProgram, graph: GraphProgram, cores: Mapping[str, GraphCore]) -> Any:
    """The function of one signature; inputs with a default may be left out."""
    specs = loaded.signature["inputs"]
    # Parameters without a default come first.
    names = sorted(specs, key=lambda name: "default" in specs[name])

    def serve(*tensors: tf.Tensor) -> Tensors:
        request = checked_request(dict(zip(names, tensors, strict=True)), specs)
        states = {name: request[name] for name in loaded.core_states}
        encoded = {**states, **graph.encode(with_defaults(specs, request))}
        outputs = graph.execute(cores, encoded)
        following = {f"{name}{NEXT}": outputs[f"{name}{NEXT}"] for name in loaded.states}
        return {**graph.decode(outputs), **following}

    empty = inspect.Parameter.empty
    serve.__signature__ = inspect.Signature([
        inspect.Parameter(
            name, inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=tf.constant([spec["default"]], spec["dtype"]) if "default" in spec else empty,
        )
        for name in names for spec in [specs[name]]
    ])  # fmt: skip
    tensors = [
        tf.TensorSpec([None if size < 0 else size for size in specs[n]["shape"]],
                      specs[n]["dtype"], name=n)
        for n in names
    ]  # fmt: skip
    return tf.function(serve, input_signature=tensors, autograph=False)


def checked_request(request: Tensors, specs: Mapping[str, Any]) -> Tensors:
    """The request as it is, once its shapes are known to be the signature's.

    A session does not look at them, and ops would spread what lacks columns or rows.
    """
    found, rows = {}, None
    for name, tensor in request.items():
        shape = [None if size < 0 else size for size in specs[name]["shape"]]
        found[name] = tf.ensure_shape(tensor, shape)
        if "default" not in specs[name] and shape[:1] == [None]:
            size = tf.shape(found[name])[0]
            if rows is not None:
                message = f"{name} must have as many rows as the other inputs"
                tf.debugging.assert_equal(size, rows, message)
            rows = size if rows is None else rows
    return found


def export_savedmodel(
    cores: Mapping[str, keras.Model],
    preprocessor: Preprocessor,
    path: str | Path,
    *,
    name: str = "default",
    warmup: Mapping[str, Sequence[Arrays]] | None = None,
) -> None:
    """Writes a SavedModel whose signatures are the preprocessor's programs.

    Args:
        cores: models of named inputs to named outputs, by the names that the programs call them;
            their recurrent layers are exchanged for fast ones without cuDNN kernels in a copy.
        preprocessor: the one that they were trained with.
        path: directory to make.
        name: of the model, as the warm-up requests call it.
        warmup: requests that a server runs before it answers, by signature; at most 1000.

    Raises:
        ServingError: the graph holds a node that another machine could not execute.
    """
    module = ServingModule({n: fast_copy(core) for n, core in cores.items()}, preprocessor)
    tf.saved_model.save(module, str(path), signatures=dict(module.functions))
    found = forbidden_nodes(Path(path))
    if found:
        raise ServingError(f"the graph in {path} holds {', '.join(found)}, which cannot be served")
    programs = {n: p for n, p in preprocessor.programs.items() if n in module.functions}
    write_programs(Path(path), programs)
    if warmup:
        write_warmup(Path(path), name, warmup)


def forbidden_nodes(path: Path) -> list[str]:
    """Operations in a SavedModel that tie it to a GPU or to a Python process."""
    proto = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    found = set()
    for meta in proto.meta_graphs:
        functions = meta.graph_def.library.function
        nodes = [*meta.graph_def.node, *(node for f in functions for node in f.node_def)]
        found.update(node.op for node in nodes if FORBIDDEN_NODES.search(node.op))
    return sorted(found)


def write_warmup(path: Path, name: str, requests: Mapping[str, Sequence[Arrays]]) -> None:
    """Writes the requests that TF Serving replays on loading, so that no client waits for it.

    Source: TensorFlow Serving, "SavedModel Warmup": a TFRecord file of PredictionLog.
    """
    target = path / WARMUP_FILE
    target.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(target)) as writer:
        for signature_name, each in requests.items():
            for inputs in each:
                log = protos.PredictionLog()
                request = log.predict_log.request
                request.model_spec.name = name
                request.model_spec.signature_name = signature_name
                for key, array in inputs.items():
                    fill_proto(request.inputs[key], array)
                writer.write(log.SerializeToString())
