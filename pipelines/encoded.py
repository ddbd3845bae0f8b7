"""Encoded examples: what training batches are made from, after the preprocessor's work."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from pipelines.ragged import Columns, Fields, Ragged

if TYPE_CHECKING:
    import tensorflow as tf

    from pipelines.batching import ShuffledEpochs
    from pipelines.windows import Windows


class Encoded(Protocol):
    """Examples as batches take them. Batches are ``(inputs, targets)`` or ``(inputs, targets,
    weights)``: dicts of tensors, targets and weights by the names of the model's outputs.

    Attributes:
        carried: whether a batch goes on where the one before ended; its rows are then windows, and
            ``len`` counts what is foretold.
    """

    carried: bool

    def __len__(self) -> int:
        """Number of examples."""

    def batches(self, batch_size: int) -> tf.data.Dataset:
        """Every example once, in one order."""

    def training_batches(self, batch_size: int, seed: int) -> ShuffledEpochs:
        """Every example once an epoch, in an order that follows from seed and epoch."""


@dataclass(frozen=True)
class EncodedRows:
    """Examples in memory, named arrays with one row for each example; batched by length.

    Attributes:
        inputs: of the model.
        targets: by the names of its outputs; further names do no harm.
        weights: of each target, likewise; None weighs all examples alike.
        fields: padding of ragged inputs, targets and weights by name; zero where not named.
    """

    carried: ClassVar[bool] = False

    inputs: Columns
    targets: Columns
    weights: Columns | None = None
    fields: Fields = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    @cached_property
    def lengths(self) -> np.ndarray:
        """``<int64>[examples]``: the longest ragged input of each, which decides what it costs."""
        found = [x.lengths for x in self.inputs.values() if isinstance(x, Ragged)]
        return np.max(found, axis=0) if found else np.ones(len(self), np.int64)

    def batches(self, batch_size: int) -> tf.data.Dataset:
        """See ``Encoded``; the long ones come first."""
        from pipelines.batching import length_batches

        return length_batches(self._parts, self.lengths, batch_size, self.fields)

    def training_batches(self, batch_size: int, seed: int) -> ShuffledEpochs:
        """See ``Encoded``."""
        from pipelines.batching import shuffled_epochs

        return shuffled_epochs(self._parts, self.lengths, batch_size, seed, self.fields)

    @property
    def _parts(self) -> tuple[Columns, ...]:
        parts = (self.inputs, self.targets)
        return parts if self.weights is None else (*parts, self.weights)


@dataclass(frozen=True)
class EncodedWindows:
    """Windows of series, which are gathered and encoded batch by batch: too many to keep.

    Attributes:
        windows: the examples.
        preprocessor: its ``graph().examples`` takes gathered rows to ``(inputs, targets)``.
    """

    carried: ClassVar[bool] = False

    windows: Windows
    preprocessor: Any

    def __len__(self) -> int:
        return len(self.windows)

    def batches(self, batch_size: int) -> tf.data.Dataset:
        """See ``Encoded``."""
        from pipelines.window_batches import window_batches

        return window_batches(self.windows, self.preprocessor.graph().examples, batch_size)

    def training_batches(self, batch_size: int, seed: int) -> ShuffledEpochs:
        """See ``Encoded``."""
        from pipelines.window_batches import shuffled_windows

        prepare = self.preprocessor.graph().examples
        return shuffled_windows(self.windows, prepare, batch_size, seed)
