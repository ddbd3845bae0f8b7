"""The layers that are neither recurrent nor attention."""

from __future__ import annotations

import numpy as np
from keras import layers

from serving.errors import ServingError
from serving.native_onnx.activations import activate
from serving.native_onnx.graph import Graph
from serving.native_onnx.registry import converter
from serving.native_onnx.value import Value

# At inference these give what they get.
IDENTITIES = (
    layers.ActivityRegularization, layers.AlphaDropout, layers.Dropout, layers.GaussianDropout,
    layers.GaussianNoise, layers.Identity, layers.SpatialDropout1D,
)  # fmt: skip


@converter(*IDENTITIES, layout="any")
def identity(graph, layer, x, mask=None):
    """Nothing to compute."""
    return x


@converter(layers.Embedding, per_step=True)
def embedding(graph, layer, ids):
    """Rows of the table, looked up time-major: turning ids around is cheaper than turning rows."""
    table = graph.weight(layer.embeddings, "embeddings")
    if not np.issubdtype(ids.dtype, np.integer):
        ids = graph.cast(ids, np.int32)
    return graph.take(table, graph.time_major(ids) if ids.rank == 2 else ids)


@converter(layers.Dense, layout="any")
def dense(graph, layer, x, mask=None):
    """``x @ kernel + bias`` on the last axis."""
    if layer.quantization_mode is not None:
        raise ServingError(f"layer {layer.name!r} is quantised by Keras; export it unquantised")
    y = x @ graph.weight(layer.kernel, "kernel")  # layer.kernel adds LoRA's part
    if layer.use_bias:
        y = y + graph.weight(layer.bias, "bias")
    return activate(graph, y, layer.activation, layer.name)


@converter(layers.EinsumDense)
def einsum_dense(graph, layer, x):
    """By its own equation."""
    kernel = graph.weight(layer.kernel, "kernel")
    rank = len(layer.equation.split("->")[1].replace("...", ""))
    rank += x.rank - len(layer.equation.split(",")[0].replace("...", ""))
    y = graph.ops("Einsum", [x, kernel], [(x.dtype, rank)], equation=layer.equation)[0]
    if layer.bias is not None:
        y = y + graph.weight(layer.bias, "bias")
    return activate(graph, y, layer.activation, layer.name)


@converter(layers.LayerNormalization, layout="any")
def layer_normalization(graph, layer, x):
    """Over the last axis."""
    _last(layer, x)
    if layer.rms_scaling:
        raise ServingError(f"layer {layer.name!r}: rms_scaling cannot be written")
    width = layer.get_build_config()["input_shape"][-1]
    gamma = np.ones(width, np.float32) if layer.gamma is None else layer.gamma
    inputs = [x, graph.weight(gamma, "gamma")]
    if layer.beta is not None:
        inputs.append(graph.weight(layer.beta, "beta"))
    return graph.op("LayerNormalization", *inputs, axis=-1, epsilon=float(layer.epsilon))


@converter(layers.RMSNormalization, layout="any")
def rms_normalization(graph, layer, x):
    """Over the last axis."""
    _last(layer, x)
    square = graph.reduce("ReduceMean", x * x, [-1], keep=True)
    y = x / graph.op("Sqrt", square + float(layer.epsilon))
    return y if layer.scale is None else y * graph.weight(layer.scale, "scale")


@converter(layers.UnitNormalization, layout="any")
def unit_normalization(graph, layer, x):
    """To length one over the last axis."""
    _last(layer, x)
    square = graph.reduce("ReduceSum", x * x, [-1], keep=True)
    least = graph.constant(1e-12, np.float32 if x.dtype == np.float32 else np.float16)
    return x / graph.op("Max", graph.op("Sqrt", square), least)


@converter(layers.BatchNormalization, layout="any")
def batch_normalization(graph, layer, x, mask=None):
    """With the moving statistics, folded into one product and one sum."""
    _last(layer, x)
    scale = 1 / np.sqrt(np.asarray(layer.moving_variance) + layer.epsilon)
    if layer.scale:
        scale = scale * np.asarray(layer.gamma)
    shift = -np.asarray(layer.moving_mean) * scale
    if layer.center:
        shift = shift + np.asarray(layer.beta)
    return x * graph.weight(scale, "scale") + graph.weight(shift, "shift")


@converter(layers.Normalization, per_step=True)
def normalization(graph, layer, x):
    """``(x - mean) / deviation`` as adapted, or the inverse."""
    mean = np.asarray(layer.mean)
    deviation = np.maximum(np.sqrt(np.asarray(layer.variance)), 1e-7)
    if layer.invert:
        return x * graph.weight(deviation, "deviation") + graph.weight(mean, "mean")
    return (x - graph.weight(mean, "mean")) / graph.weight(deviation, "deviation")


@converter(layers.Rescaling, layout="any")
def rescaling(graph, layer, x):
    """A product and a sum."""
    x = x if x.is_float else graph.cast(x, graph.float_dtype)
    scale, offset = np.float32(layer.scale), np.float32(layer.offset)
    return x * graph.weight(scale, "scale") + graph.weight(offset, "offset")


@converter(layers.Masking, per_step=True)
def masking(graph, layer, x):
    """Noughts at the steps that are all ``mask_value``; the mask itself is its own node."""
    differs = graph.op("Not", graph.compare("Equal", x, float(layer.mask_value)))
    kept = graph.reduce("ReduceMax", graph.cast(differs, np.int32), [-1], keep=True)
    return graph.where(graph.cast(kept, np.bool_), x, 0.0)


def _merging(kind: str):
    def merge(graph, layer, inputs, mask=None):
        total = inputs[0]
        for value in inputs[1:]:
            total = graph.binary(kind, total, value)
        return total

    return merge


converter(layers.Add, layout="any")(_merging("Add"))
converter(layers.Multiply, layout="any")(_merging("Mul"))
converter(layers.Subtract, layout="any")(_merging("Sub"))
converter(layers.Maximum, layout="any")(_merging("Max"))
converter(layers.Minimum, layout="any")(_merging("Min"))


@converter(layers.Average, layout="any")
def average(graph, layer, inputs, mask=None):
    """Their mean."""
    return _merging("Add")(graph, layer, inputs) * (1 / len(inputs))


@converter(layers.Concatenate, per_step=True)
def concatenate(graph, layer, inputs, mask=None):
    """Along its axis."""
    return graph.concat(inputs, layer.axis)


@converter(layers.Dot)
def dot(graph, layer, inputs, mask=None):
    """Batched product of two tensors of rank 2 or 3."""
    first, second = inputs
    axes = [layer.axes] * 2 if isinstance(layer.axes, int) else list(layer.axes)
    if max(first.rank, second.rank) > 3:
        raise ServingError(f"layer {layer.name!r}: Dot of rank 4 and more cannot be written")
    if layer.normalize:
        first, second = (
            x / graph.op("Sqrt", graph.op("Max", graph.reduce("ReduceSum", x * x, [a], keep=True),
                                          graph.constant(1e-12, x.dtype)))
            for x, a in zip(inputs, axes, strict=True)
        )  # fmt: skip
    axes = [axis % value.rank for axis, value in zip(axes, (first, second), strict=True)]
    left = graph.expand(first, 1) if first.rank == 2 else first
    right = graph.expand(second, 2) if second.rank == 2 else second
    if first.rank == 3 and axes[0] == 1:
        left = graph.transpose(left, [0, 2, 1])
    if second.rank == 3 and axes[1] == 2:
        right = graph.transpose(right, [0, 2, 1])
    y = left @ right
    squeezed = [axis for axis, value in ((1, first), (2, second)) if value.rank == 2]
    if len(squeezed) == 2:
        squeezed = squeezed[:1]
    return graph.squeeze(y, *squeezed) if squeezed else y


@converter(layers.Reshape)
def reshape(graph, layer, x):
    """The batch stays."""
    return graph.reshape(x, [graph.shape(x, 0), *map(int, layer.target_shape)])


@converter(layers.Flatten)
def flatten(graph, layer, x):
    """All but the batch."""
    if x.rank == 1:
        return graph.expand(x, 1)
    return graph.op("Flatten", x, axis=1, rank=2)


@converter(layers.Permute)
def permute(graph, layer, x):
    """Axes of the layer count from one, after the batch."""
    return graph.transpose(x, [0, *layer.dims])


@converter(layers.RepeatVector)
def repeat_vector(graph, layer, x):
    """``[batch, features]`` to ``[batch, n, features]``."""
    return graph.op("Tile", graph.expand(x, 1), graph.indices([1, layer.n, 1]))


def _last(layer, x: Value) -> None:
    axes = [layer.axis] if isinstance(layer.axis, int) else list(layer.axis)
    if axes not in ([-1], [x.rank - 1]):
        raise ServingError(f"layer {layer.name!r}: only the last axis can be written, not {axes}")


def valid_steps(graph: Graph, mask: Value, dtype: np.dtype) -> Value:
    """``<bool>[batch, time]`` as ``<float>[batch, time, 1]``."""
    return graph.cached(
        ("valid", mask.name, dtype.str), lambda: graph.expand(graph.cast(mask, dtype), 2)
    )
