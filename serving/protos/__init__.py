"""TensorFlow Serving's protobuf messages without TensorFlow.

    request = protos.PredictRequest()

They live in a descriptor pool of their own, so that a process may hold TensorFlow's too.
``messages.binpb`` is the compiled form of the .proto files next to it:

    python -m serving.protos        # writes it again; needs grpcio-tools
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorSet

HERE = Path(__file__).parent
SOURCES = (
    "tensorflow.proto",
    "tensorflow_serving.proto",
    "seqloom_streaming.proto",
    "health.proto",
)
PACKAGES = ("tensorflow.serving", "tensorflow", "seqloom", "grpc.health.v1")

_pool = descriptor_pool.DescriptorPool()
for _file in FileDescriptorSet.FromString(
    files(__name__).joinpath("messages.binpb").read_bytes()
).file:
    _pool.Add(_file)


def __getattr__(name: str) -> Any:
    """A message's class by its name, or an enum's descriptor."""
    for package in PACKAGES:
        for find, made in (
            (_pool.FindMessageTypeByName, message_factory.GetMessageClass),
            (_pool.FindEnumTypeByName, lambda enum: enum),
        ):
            try:
                found = made(find(f"{package}.{name}"))
            except KeyError:
                continue
            globals()[name] = found
            return found
    raise AttributeError(f"no message of TensorFlow Serving's is called {name}")
