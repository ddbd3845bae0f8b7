"""A loaded model as the server sees it: named signatures, each run in three steps."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from pipelines.ragged import Arrays, Fields
from pipelines.writing import Text
from serving.runtime.generation import GenerationLimits, Load
from serving.runtime.scheduler import Scheduler
from serving.runtime.signatures import DEFAULT_SIGNATURE, NO_SIGNATURE


class SignatureRunner:
    """One signature of a loaded model; all methods may be called from many threads at once.

    ``encode`` and ``decode`` work on one request. ``execute`` may be given the encoded rows of
    several requests at once, where ``joins`` (or ``joinable``, and the server is told to).

    Attributes:
        signature: inputs and outputs, as ``serving.runtime.signatures`` describes them.
        joins: whether rows of several requests may be run together, and a request be cut: each row
            of the answer is known to depend on the same row of the request alone.
        joinable: whether that is possible, but not known: all tensors begin with an open dimension.
        fields: encoded inputs that may be lengthened without any effect on the answer, and outputs
            of ``execute`` that are cut to their own length when rows of several requests part.
        shared: inputs that have one value for all rows of a batch; ``encode`` hands them on.
        labels: what the numbers along the last axis of an output belong to, by its name.
        states: what a client, or a stream of this server, carries from step to step: shape of each
            without the batch.
        scheduler: writes texts token by token, where the signature does that; see ``schedule``.
    """

    joins = False
    joinable = False
    fields: Fields = MappingProxyType({})
    shared: tuple[str, ...] = ()
    labels: Mapping[str, Sequence[str]] = MappingProxyType({})
    states: Mapping[str, tuple[int, ...]] = MappingProxyType({})
    scheduler: Scheduler | None = None

    def __init__(self, signature: dict[str, Any]) -> None:
        self.signature = signature

    def only(self, outputs: Collection[str]) -> SignatureRunner:
        """The runner for a request that asks for some outputs: itself, where all cost the same.

        Args:
            outputs: names of outputs of the signature; none for all of them.
        """
        return self

    def encode(self, inputs: Arrays) -> Arrays:
        """Inputs of the signature, checked, as ``execute`` takes them.

        Raises:
            RequestError: they do not suit the signature.
        """
        raise NotImplementedError

    def group(self, encoded: Arrays) -> Hashable:
        """A key that encoded requests which are run together share, in addition to their shapes."""
        return tuple(tuple(encoded[name][:1].tolist()) for name in self.shared)

    def initial(self, rows: int) -> Arrays:
        """The states before the first step of so many rows."""
        return {n: np.zeros((rows, *shape), np.float32) for n, shape in self.states.items()}

    def execute(self, encoded: Arrays, timeout: float | None = None) -> Arrays:
        """The model itself.

        Args:
            encoded: result of ``encode``; if ``joins``, of several requests, padded by ``fields``.
            timeout: seconds after which a model that can be interrupted gives up.

        Raises:
            RequestError: it failed, or DEADLINE_EXCEEDED.
        """
        raise NotImplementedError

    def schedule(self, limits: GenerationLimits, observe: Callable[[Load], None]) -> None:
        """Makes a ``scheduler``, if the signature writes token by token; nothing by default.

        Requests are then not run by ``execute``.

        Args:
            limits: of all texts together.
            observe: see ``Scheduler``.
        """

    def texts(self, encoded: Arrays) -> list[Text]:
        """The texts that an encoded request asks a scheduler for."""
        raise NotImplementedError

    def finished(self, texts: Sequence[Text]) -> Arrays:
        """Texts that a scheduler has written, as ``decode`` takes them."""
        raise NotImplementedError

    def decode(self, encoded: Arrays) -> Arrays:
        """Outputs of the signature; strings as object arrays of bytes or str."""
        return encoded


class Backend:
    """One version of one loaded model.

    Attributes:
        runners: one for each signature, by its name.
    """

    def __init__(self, runners: dict[str, SignatureRunner]) -> None:
        self.runners = runners

    @property
    def signatures(self) -> dict[str, dict]:
        """All signatures by name."""
        return {name: runner.signature for name, runner in self.runners.items()}

    @property
    def labels(self) -> dict[str, dict[str, list[str]]]:
        """Labels of outputs by signature and output; only of those that have some."""
        return {
            name: {output: list(labels) for output, labels in runner.labels.items()}
            for name, runner in self.runners.items() if runner.labels
        }  # fmt: skip

    @property
    def signature(self) -> Mapping[str, Any]:
        """The ``serving_default`` signature, of no inputs and outputs if there is none."""
        return self.signatures.get(DEFAULT_SIGNATURE, NO_SIGNATURE)

    def run(
        self,
        inputs: Arrays,
        signature_name: str = DEFAULT_SIGNATURE,
        outputs: Collection[str] = (),
    ) -> Arrays:
        """Runs one request by itself.

        Args:
            inputs: one array per input of the signature; strings as object arrays of bytes.
            signature_name: a key of ``signatures``.
            outputs: names of the outputs that are needed; none for all of them.

        Returns:
            One array per output; of those that are not needed there may be some.

        Raises:
            RequestError: the inputs do not suit the model, or it failed on them.
        """
        runner = self.runners[signature_name].only(outputs)
        return runner.decode(runner.execute(runner.encode(inputs)))

    def warm(self) -> None:
        """Runs what the version's directory holds for that; nothing by default."""

    def close(self) -> None:
        """Frees what it holds; nothing may be run afterwards."""
        for runner in self.runners.values():
            if runner.scheduler is not None:
                runner.scheduler.close()
