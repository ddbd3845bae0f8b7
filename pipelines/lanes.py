"""Documents as windows of truncated backpropagation through time, the state carried on.

Documents are read side by side, each in a row of the batch of its own, in *rounds*: those of a
round begin together and are about equally long. A document much longer than the others is cut into
as many pieces as there are rows, each read as if nothing had stood before it. Each round is cut
into windows at places that differ from epoch to epoch (Merity et al. 2018, arXiv:1708.02182), so
that no place is always the first of a window, whose gradient does not reach back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from pipelines.ragged import Ragged
from pipelines.units import PAD

if TYPE_CHECKING:
    import tensorflow as tf

BUCKETS = 16  # of length


class Extent(NamedTuple):
    """Units from ``first`` to ``last`` of the joined documents, each to foretell the one after."""

    first: int
    last: int

    @property
    def length(self) -> int:
        """Units that are foretold."""
        return self.last - self.first


@dataclass(frozen=True)
class LaneRows:
    """Documents as ``pipelines.encoded.Encoded`` has examples.

    A batch is ``{"tokens": <int32>[rows, time], "following": <int32>[rows, time], "begins":
    <bool>[rows]}`` and ``{"log_probabilities": <int32>[rows, time]}``, the units that follow again,
    ``PAD`` behind the end; ``begins`` says that the state is zero, which it is for all rows of a
    round together.

    Attributes:
        documents: units of each, one that nothing foretells before the first.
        window: units of a window, on average.
    """

    carried: ClassVar[bool] = True

    documents: Ragged
    window: int

    def __len__(self) -> int:
        return int((self.documents.lengths - 1).sum())

    def batches(self, batch_size: int) -> tf.data.Dataset:
        """Every unit once, in one order."""
        return _Epochs(self, batch_size, None).one(0)

    def training_batches(self, batch_size: int, seed: int) -> _Epochs:
        """Every unit once an epoch, in an order and in windows that follow from seed and epoch."""
        return _Epochs(self, batch_size, seed)

    def pieces(self, rows: int) -> list[Extent]:
        """What is read as a whole, when so many are read side by side."""
        longest = max(self.window, -(-len(self) // rows))
        found = []
        for start, end in zip(self.documents.ends[:-1], self.documents.ends[1:], strict=True):
            length = int(end - start) - 1
            count = max(1, round(length / longest)) if length > longest else 1
            borders = start + np.arange(count + 1) * length // count
            found += [Extent(int(a), int(b)) for a, b in zip(borders, borders[1:], strict=False)]
        return [piece for piece in found if piece.length]


@dataclass(frozen=True)
class _Epochs:
    """See ``pipelines.batching.ShuffledEpochs``; without a seed all epochs are alike."""

    lanes: LaneRows
    rows: int
    seed: int | None

    @cached_property
    def classes(self) -> list[list[Extent]]:
        """Pieces that may be read in one round: of like length; whole rounds but for the last."""
        pieces = sorted(self.lanes.pieces(self.rows), key=lambda piece: -piece.length)
        size = self.rows * max(1, len(pieces) // (self.rows * BUCKETS))
        return [pieces[i : i + size] for i in range(0, len(pieces), size)]

    def _windows(self, length: int) -> int:
        return -(-length // self.lanes.window)

    @cached_property
    def steps(self) -> int:
        """Batches in each epoch."""
        return sum(
            -(-len(same) // self.rows) * self._windows(same[0].length) for same in self.classes
        )

    def one(self, epoch: int) -> tf.data.Dataset:
        """Batches of one epoch."""
        import tensorflow as tf

        batches = self._dataset(lambda: self._epoch(epoch))
        return batches.apply(tf.data.experimental.assert_cardinality(self.steps)).prefetch(2)

    def starting_with(self, epoch: int) -> tf.data.Dataset:
        """One epoch after the other without end; ``fit`` takes ``steps`` of it an epoch."""

        def endless() -> Iterator:
            number = epoch
            while True:
                yield from self._epoch(number)
                number += 1

        return self._dataset(endless).prefetch(2)

    def _dataset(self, batches) -> tf.data.Dataset:
        import tensorflow as tf

        from pipelines.batching import AS_BUILT

        ids = tf.TensorSpec([None, None], tf.int32)
        begins = tf.TensorSpec([None], tf.bool)
        spec = ({"tokens": ids, "following": ids, "begins": begins}, {"log_probabilities": ids})
        made = tf.data.Dataset.from_generator(batches, output_signature=spec)
        return made.with_options(AS_BUILT)

    def _epoch(self, epoch: int) -> Iterator[tuple[dict, dict]]:
        draw = None if self.seed is None else np.random.default_rng([self.seed, epoch])
        rounds = []
        for same in self.classes:
            count = self._windows(same[0].length)
            order = np.arange(len(same)) if draw is None else draw.permutation(len(same))
            chosen = [same[i] for i in order]
            cut = range(0, len(chosen), self.rows)
            rounds += [(chosen[i : i + self.rows], count) for i in cut]
        for i in range(len(rounds)) if draw is None else draw.permutation(len(rounds)):
            yield from self._round(*rounds[i], draw)

    def _round(
        self, pieces: Sequence[Extent], count: int, draw: np.random.Generator | None
    ) -> Iterator[tuple[dict, dict]]:
        # As many windows as its class has, whatever was drawn: an epoch has a fixed number.
        longest = max(count, *(piece.length for piece in pieces))
        values = self.lanes.documents.values
        borders = np.arange(count + 1) * longest // count
        if draw is not None and count > 1:
            reach = longest // count // 4
            borders[1:-1] += draw.integers(-reach, reach, count - 1, endpoint=True)
        firsts = np.array([piece.first for piece in pieces])[:, None]
        ends = np.array([piece.last for piece in pieces])[:, None]
        begins = np.ones(len(pieces), bool)
        for a, b in zip(borders, borders[1:], strict=False):
            places = firsts + np.arange(a, b)
            inside = places < ends
            places = np.minimum(places, ends - 1)
            tokens = np.where(inside, values[places], PAD).astype(np.int32)
            following = np.where(inside, values[places + 1], PAD).astype(np.int32)
            inputs = {"tokens": tokens, "following": following, "begins": begins}
            yield inputs, {"log_probabilities": following}
            begins = np.zeros(len(pieces), bool)


def in_order(documents: Iterable[np.ndarray], window: int) -> Iterator[dict[str, np.ndarray]]:
    """Documents one after the other, each unit once, as inputs of one row.

    Args:
        documents: units of each ``<int32>[units]``, one that nothing foretells before the first.
        window: units that are foretold in each window but the last of a document.
    """
    for units in documents:
        for first in range(0, len(units) - 1, window):
            part = units[None, first : first + window + 1]
            begins = np.array([first == 0])
            yield {"tokens": part[:, :-1], "following": part[:, 1:], "begins": begins}
