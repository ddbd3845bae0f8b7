"""Speech in pieces: the program ``step`` of models that read forwards alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from decoding.ctc import BLANK
from pipelines.audio_features import AudioFeatures
from pipelines.audio_program import FIELDS, at_least_one, batched
from pipelines.program import NEXT, Cores, Program, run_core
from pipelines.ragged import Arrays, Field
from pipelines.speech_text import OUTPUT

# Pieces by which exports are compared, in samples; the rest of the sound comes last.
PIECES = (1, 700, 64, 2000, 1500)


class TranscribeStep(Program):
    """A piece of sound to what is newly written; states go with it.

    Between pieces it remembers the samples of a step that is not whole yet, the last symbol, and
    whether there was any step: a sound shorter than a step is filled up with silence at its end.

    Args:
        features: samples to frames.
        symbols: characters; the blank is before them.
    """

    stateful = True
    fields = {**FIELDS, OUTPUT: Field(0.0, "steps")}

    def __init__(self, features: AudioFeatures, symbols: Sequence[str]) -> None:
        self.features, self.symbols = features, symbols
        self.memory = {"pending": (self.features.span,), "waiting": (), "last": (), "begun": ()}

    @property
    def signature(self) -> dict[str, Any]:
        """``audio`` at the rate of the model; ``final`` with the last piece."""
        return {
            "inputs": {
                "audio": {"dtype": "float32", "shape": [-1, -1]},
                "length": {"dtype": "int32", "shape": [-1]},
                "final": {"dtype": "bool", "shape": [-1], "default": False},
            },
            "outputs": {
                "text": {"dtype": "string", "shape": [-1]},
                OUTPUT: {"dtype": "float32", "shape": [-1, -1, 1 + len(self.symbols)]},
                "steps": {"dtype": "int32", "shape": [-1]},
            },
        }

    def encode(self, request: Arrays) -> Arrays:
        """Frames of the steps that are whole now, and what is left over."""
        audio, length, one = request["audio"], request["length"], self.features
        if len(length) and not 0 <= length.min() <= length.max() <= audio.shape[1]:
            raise ValueError(f"length must be from 0 to {audio.shape[1]}, the width of audio")
        if not np.isfinite(audio).all():
            raise ValueError("audio must be finite numbers")
        waiting = np.clip(np.nan_to_num(request["waiting"]), 0, one.span).astype(np.int64)
        begun = request["begun"] > 0
        rows, kept = [], np.zeros((len(audio), one.span), np.float32)
        left = np.zeros(len(audio), np.float32)
        for i, final in enumerate(request["final"]):
            data = np.concatenate([request["pending"][i, : waiting[i]], audio[i, : length[i]]])
            steps = int(step_count(len(data), final, begun[i], one))
            size = (steps - 1) * one.hop + one.span if steps else 0
            whole = np.pad(data[:size], (0, max(0, size - len(data))))
            rows.append(one.stacked(one.frames(whole)))
            if not final:
                rest = data[steps * one.hop :]
                kept[i, : len(rest)], left[i] = rest, len(rest)
        found = batched(rows, one)
        begun = (begun | (found["steps"] > 0)) & ~request["final"]
        memory = {"pending": kept, "waiting": left, "begun": begun.astype(np.float32)}
        after = {f"{name}{NEXT}": array for name, array in memory.items()}
        return {**found, **after, "last": request["last"], "final": request["final"]}

    def execute(self, cores: Cores, encoded: Arrays) -> Arrays:
        """The core; the symbol of each step behind the last one of the piece before."""
        found = run_core(cores["model"], encoded)
        scores, last = found[OUTPUT], encoded["last"].astype(np.int64)
        each = np.concatenate([last[:, None], scores.argmax(-1)], 1)
        following = each[np.arange(len(each)), encoded["steps"]]
        following = np.where(encoded["final"], BLANK, following).astype(np.float32)
        return {**found, "each": each, f"last{NEXT}": following}

    def decode(self, outputs: Arrays) -> Arrays:
        """What the new steps add to the text of greedy search."""
        scores, steps, each = outputs[OUTPUT], outputs["steps"], outputs["each"]
        inside = np.arange(scores.shape[1]) < steps[:, None]
        new = inside & (each[:, 1:] != BLANK) & (each[:, 1:] != each[:, :-1])
        names = np.array([b"", *(one.encode("utf-8") for one in self.symbols)], object)
        texts = np.empty(len(steps), object)
        texts[:] = [b"".join(names[row[keep]]) for row, keep in zip(each[:, 1:], new, strict=True)]
        return {"text": texts, OUTPUT: scores, "steps": steps}

    def examples(self, request: Arrays) -> Iterator[Arrays]:
        """The sound in pieces."""
        audio, length = request["audio"], request["length"]
        first = 0
        for piece in (*PIECES, max(0, audio.shape[1] - sum(PIECES))):
            part = audio[:, first : first + piece]
            here = np.clip(length - first, 0, part.shape[1]).astype(np.int32)
            first += piece
            final = np.full(len(audio), first >= sum(PIECES) and piece not in PIECES)
            yield {"audio": at_least_one(part), "length": here, "final": final}

    def graph(self) -> Any:
        """The same as TensorFlow ops."""
        from pipelines.speech_graph import TranscribeStepGraph

        return TranscribeStepGraph(self)


def step_count(samples: int, final: bool, begun: bool, features: AudioFeatures) -> int:
    """Steps that are whole; with the last piece the one that is not is filled up.

    Args:
        samples: that are there, those that waited included.
        final: whether no more will come.
        begun: whether there was a step before.
        features: sizes of steps.
    """
    if not final:
        return 0 if samples < features.span else 1 + (samples - features.span) // features.hop
    more = -(-(samples - features.span) // features.hop)  # below 0 where less than a hop is left
    return max(1 + more, 0 if begun or not samples else 1)
