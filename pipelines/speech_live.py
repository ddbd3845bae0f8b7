"""Speech as it comes in: pieces of sound of any size, and the text so far after each.

    live = LiveTranscript(bundle_program, preprocessor)
    for samples in microphone:
        print(live.push(samples))         # may still change, unless beam is 1
    print(live.finish()["text"])          # what the whole sound gives

Nothing is remembered but the states of the model, a step of samples, and for each step of 20 ms or
so the scores of the symbols, from which the end is aligned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from decoding.ctc import Scorer, greedy
from decoding.ctc_beam import PrefixBeam
from pipelines.audio import checked_samples
from pipelines.audio_program import at_least_one
from pipelines.live import Answering, Heard
from pipelines.program import NEXT
from pipelines.ragged import Arrays
from pipelines.speech import SpeechPreprocessor, Transcribe
from pipelines.speech_text import OUTPUT


class LiveTranscript:
    """One stream of speech.

    Args:
        run: answers a request of the signature ``step``, states among it: a ``LoadedProgram``'s
            ``run``, or a client's.
        initial: its states before the first piece.
        preprocessor: of the model; it must be ``streaming``.
        beam: hypotheses of the search; that of the preprocessor if None.
        scorer: what else knows about texts.
    """

    def __init__(
        self,
        run: Callable[[Arrays], Arrays],
        initial: Arrays,
        preprocessor: SpeechPreprocessor,
        beam: int | None = None,
        scorer: Scorer | None = None,
    ) -> None:
        self._run, self._states, self.preprocessor = run, dict(initial), preprocessor
        self.beam = beam or preprocessor.beam
        self._search = PrefixBeam(1, self.beam, scorer) if self.beam > 1 or scorer else None
        self._scores: list[np.ndarray] = []
        self._text = ""

    def push(self, samples: Any, final: bool = False) -> str:
        """The text after a piece of sound.

        Args:
            samples: ``<float32>[n]`` at the rate of the model.
            final: whether it is the last one.

        Raises:
            DataError: they are no row of finite numbers.
        """
        samples = checked_samples(samples)
        request = {
            "audio": at_least_one(samples[None]),
            "length": np.array([len(samples)], np.int32),
            "final": np.array([final]),
        }
        found = self._run({**request, **self._states})
        self._states = {name: found[f"{name}{NEXT}"] for name in self._states}
        scores = found[OUTPUT][0, : int(found["steps"][0])]
        self._scores.append(scores)
        if self._search is None:
            self._text += found["text"][0].decode("utf-8")
            return self._text
        for step in scores:
            self._search.push(step[None])
        symbols, count = self._search.best()
        return self.preprocessor.text(symbols[0, : count[0]])

    def finish(self) -> dict[str, Any]:
        """The answer that the whole sound has, see ``SpeechPreprocessor.answers``."""
        self.push(np.zeros(0, np.float32), final=True)
        scores = np.concatenate(self._scores)[None]
        steps = np.array([scores.shape[1]])
        if self._search is None:
            found = greedy(scores, steps)
            symbols, count = found.symbols, found.length
        else:
            symbols, count = self._search.best()
        symbols = symbols[:, : int(count.max(initial=0))]
        program = Transcribe(self.preprocessor)
        response = program.answered(scores, steps, symbols, count)
        return self.preprocessor.answers(response, [None])[0]


@dataclass(frozen=True)
class NewlyWritten:
    """What was newly written.

    Attributes:
        text: of some characters.
        until: seconds of sound after which it was.
    """

    text: str
    until: float

    @property
    def answer(self) -> dict[str, Any]:
        """For JSON."""
        return {"text": self.text, "until": round(self.until, 3)}


class Listener:
    """Speech as ``seqloom predict --stream`` follows it, see ``pipelines.live.Live``: by greedy
    search, whose text never changes, in memory that does not grow.

    Args:
        preprocessor: of a model that reads forwards alone.
        model: answers its program ``step``.
    """

    notes: Sequence[str] = ()

    def __init__(self, preprocessor: SpeechPreprocessor, model: Answering) -> None:
        self.rate, self._model = preprocessor.features.rate, model
        self._piece = self.rate // 10  # samples that are answered at a time, whatever comes
        self._states = model.initial("step")
        self._waiting, self._heard = np.zeros(0, np.float32), 0

    def push(self, samples: np.ndarray) -> Sequence[Heard]:
        """What further samples ``<float32>[n]`` bring."""
        self._waiting = np.concatenate([self._waiting, checked_samples(samples)])
        found = []
        while len(self._waiting) >= self._piece:
            found += self._step(self._waiting[: self._piece], False)
            self._waiting = self._waiting[self._piece :]
        return found

    def end(self) -> Sequence[Heard]:
        """What is left, and a line break."""
        found = self._step(self._waiting, True)
        return [*found, NewlyWritten("\n", self._heard / self.rate)]

    def _step(self, samples: np.ndarray, final: bool) -> list[NewlyWritten]:
        self._heard += len(samples)
        request = {
            "audio": at_least_one(samples[None]),
            "length": np.array([len(samples)], np.int32),
            "final": np.array([final]),
        }
        found = self._model.run({**request, **self._states}, "step")
        self._states = {name: found[f"{name}{NEXT}"] for name in self._states}
        text = found["text"][0].decode("utf-8")
        return [NewlyWritten(text, self._heard / self.rate)] if text else []
