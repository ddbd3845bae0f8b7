"""A tensor of an ONNX graph in the making, with Python's operators."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of the graph.

    Attributes:
        graph: the ``Graph`` where it lives, which computes with it.
        name: of the tensor.
        dtype: NumPy's.
        rank: number of dimensions.
        time_major: the first two dimensions are (time, batch), not Keras's (batch, time).
    """

    graph: Any = field(repr=False)
    name: str
    dtype: np.dtype
    rank: int
    time_major: bool = False

    @property
    def is_float(self) -> bool:
        """Whether it holds float16 or float32."""
        return np.issubdtype(self.dtype, np.floating)

    def __add__(self, other: Operand) -> Value:
        return self.graph.binary("Add", self, other)

    def __radd__(self, other: Operand) -> Value:
        return self.graph.binary("Add", other, self)

    def __sub__(self, other: Operand) -> Value:
        return self.graph.binary("Sub", self, other)

    def __rsub__(self, other: Operand) -> Value:
        return self.graph.binary("Sub", other, self)

    def __mul__(self, other: Operand) -> Value:
        return self.graph.binary("Mul", self, other)

    def __rmul__(self, other: Operand) -> Value:
        return self.graph.binary("Mul", other, self)

    def __truediv__(self, other: Operand) -> Value:
        return self.graph.binary("Div", self, other)

    def __rtruediv__(self, other: Operand) -> Value:
        return self.graph.binary("Div", other, self)

    def __matmul__(self, other: Operand) -> Value:
        return self.graph.binary("MatMul", self, other)

    def __neg__(self) -> Value:
        return self.graph.op("Neg", self)


Operand = Value | np.ndarray | float | int
