"""Tensors of every type between protobuf and NumPy, with TensorFlow itself as the judge."""

import subprocess
import sys

import numpy as np
import pytest

from serving import protos
from serving.errors import RequestError
from serving.tensors import (
    NUMBERS,
    dtype_name,
    dtype_of,
    fill_proto,
    numpy_dtype,
    to_array,
    type_in_json,
)

NUMERIC = sorted(set(NUMBERS) - {"string"})


def sample(name):
    """Four small values of a type, negative ones and imaginary parts where it has them."""
    dtype = numpy_dtype(name)
    if dtype.names:
        return np.array([0, 1, 3, 2], dtype[0]).view(dtype)
    values = np.array([0, 1, -2, 1] if not name.startswith(("uint", "bool")) else [0, 1, 3, 1])
    return (values * (1 + 2j)).astype(dtype) if name.startswith("complex") else values.astype(dtype)


@pytest.mark.parametrize("as_content", [False, True])
@pytest.mark.parametrize("name", NUMERIC)
def test_every_type_is_read_by_tensorflow_and_from_it(name, as_content):
    import tensorflow as tf

    array, dtype = sample(name), tf.dtypes.as_dtype(NUMBERS[name])
    proto = protos.TensorProto()
    fill_proto(proto, array.reshape(2, 2), as_content)
    back = to_array(proto)
    assert (dtype_of(back), back.shape) == (name, (2, 2))
    assert back.tobytes() == array.tobytes()
    theirs = tf.io.parse_tensor(proto.SerializeToString(), dtype).numpy().reshape(-1)
    assert [str(v) for v in theirs] == [
        str(v) for v in (array[name] if array.dtype.names else array)
    ]
    made = tf.make_tensor_proto(array, dtype).SerializeToString()
    assert to_array(protos.TensorProto.FromString(made)).tobytes() == array.tobytes()


@pytest.mark.parametrize("name", NUMERIC)
def test_a_short_list_is_filled_up_with_its_last_value(name):
    proto = protos.TensorProto()
    fill_proto(proto, sample(name)[:2])
    proto.tensor_shape.dim[0].size = 4
    want = sample(name)[[0, 1, 1, 1]]
    assert to_array(proto).tobytes() == want.tobytes()
    proto.tensor_shape.dim[0].size = 1
    with pytest.raises(RequestError, match="tensor parsing error"):
        to_array(proto)


def test_contents_of_another_length_are_refused():
    for name in NUMERIC:
        proto = protos.TensorProto()
        fill_proto(proto, sample(name), as_content=True)
        proto.tensor_content += b"\0"
        with pytest.raises(RequestError, match="tensor parsing error"):
            to_array(proto)


def test_types_have_tensorflows_numbers_and_names():
    from tensorflow.core.framework import types_pb2

    ours = {value.name: value.number for value in protos.DataType.values}
    assert ours == dict(types_pb2.DataType.items())
    for name, number in ours.items():
        assert dtype_name(number) == dtype_name(name)
        assert type_in_json(dtype_name(number)) == name
    # One that comes with a later TensorFlow keeps its number.
    assert type_in_json(dtype_name(999)) == 999


def test_a_type_that_no_array_has_is_refused():
    proto = protos.TensorProto(dtype=NUMBERS["string"] + 13)  # DT_RESOURCE
    with pytest.raises(RequestError, match="DT_RESOURCE"):
        to_array(proto)
    with pytest.raises(RequestError, match="resource"):
        numpy_dtype("resource")


WITHOUT = """
import sys
sys.modules["ml_dtypes"] = None
import numpy as np
from serving import protos
from serving.errors import RequestError
from serving.tensors import to_array
half = protos.TensorProto(dtype=14, half_val=[0x3F80, 0xC040])
half.tensor_shape.dim.add().size = 2
found = to_array(half)
assert (found.dtype, found.tolist()) == (np.float32, [1.0, -3.0])
eight = protos.TensorProto(dtype=24, float8_val=b"a")
try:
    to_array(eight)
except RequestError as error:
    print(error)
"""


def test_without_ml_dtypes_bfloat16_is_read_and_the_rest_says_what_it_needs():
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "pip install ml_dtypes" in done.stdout
