"""What only a GPU shows: which kernels are taken, and that nothing exported needs one."""

import os
import subprocess
import sys

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf

from models import accelerate
from models.recurrent import CELLS
from serving.fast_recurrent import fast_copy
from serving.native_onnx import build_onnx

pytestmark = pytest.mark.skipif(
    not tf.config.list_physical_devices("GPU"), reason="TensorFlow sees no GPU"
)
# cuDNN and cuBLAS multiply in TensorFloat-32, of ten bits.
BOUND = 5e-3
# A device scope would not keep a loaded function off the GPU.
ELSEWHERE = """
import numpy as np, tensorflow as tf
assert not tf.config.list_physical_devices("GPU")
serve = tf.saved_model.load(".").signatures["serving_default"]
np.save("y.npy", serve(ids=tf.constant(np.load("ids.npy")))["y"])
"""


def ragged(rows=6, time=11):
    random = np.random.default_rng(0)
    ids = random.integers(1, 50, (rows, time)).astype(np.int32)
    for row in range(1, rows):
        ids[row, random.integers(1, time) :] = 0
    return ids


def network(cell):
    ids = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(50, 8, mask_zero=True)(ids)
    for last in (False, True):
        layer = CELLS[cell](16, return_sequences=not last, zero_output_for_mask=not last)
        x = keras.layers.Bidirectional(layer)(x)
    return keras.Model(ids, keras.layers.Dense(3)(x))


def kernels(function):
    """Names of the operations of a traced function and of all that it calls."""
    graph = function.graph.as_graph_def()
    nodes = [*graph.node, *(node for one in graph.library.function for node in one.node_def)]
    return {node.op for node in nodes}


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_training_on_a_gpu_is_cudnns_with_quick_loops_and_without(cell):
    keras.utils.set_random_seed(0)
    model, gradients = network(cell), []
    ids, spec = tf.constant(ragged()), tf.TensorSpec([None, None], tf.int32)
    for quick in (False, True):
        if quick:
            accelerate(model)

        @tf.function(input_signature=[spec])
        def step(ids):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(model(ids, training=True) ** 2)
            return tape.gradient(loss, [one.value for one in model.trainable_variables])

        found = kernels(step.get_concrete_function())
        assert "CudnnRNNV3" in found
        assert "CudnnRNNBackpropV3" in found
        gradients.append([tf.convert_to_tensor(one).numpy() for one in step(ids)])
    for plain, quick in zip(*gradients, strict=True):
        np.testing.assert_allclose(quick, plain, rtol=BOUND, atol=BOUND)


@pytest.mark.parametrize("cell", CELLS)
def test_exports_of_a_model_traced_on_a_gpu_run_on_a_cpu(cell, tmp_path):
    model, ids = network(cell), ragged()
    want = np.asarray(tf.function(model)(ids))  # traced with cuDNN's kernels
    module, copy = tf.Module(), fast_copy(model)
    module.saved = [variable.value for variable in copy.variables]
    serve = tf.function(lambda ids: {"y": copy(ids, training=False)})
    concrete = serve.get_concrete_function(tf.TensorSpec([None, None], tf.int32, "ids"))
    assert not [op for op in kernels(concrete) if op.startswith("Cudnn")]
    tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": concrete})
    np.save(tmp_path / "ids.npy", ids)
    subprocess.run(
        [sys.executable, "-c", ELSEWHERE], cwd=tmp_path, check=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    got = np.load(tmp_path / "y.npy")
    session = onnxruntime.InferenceSession(
        build_onnx(model).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (name,) = (given.name for given in session.get_inputs())
    (exported,) = session.run(None, {name: ids})
    np.testing.assert_allclose(got, exported, atol=1e-5)
    np.testing.assert_allclose(exported, want, atol=BOUND)
