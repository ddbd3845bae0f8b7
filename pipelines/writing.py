"""Programs that write token by token: a beginning in, its continuation out, streamed or whole.

A kind gives a ``WritingProgram`` its prompts, its detokenizer and its end id; sampling, stop
strings, settings and the loop over the core ``step`` are here. A server does not call ``execute``:
it steps the rows of all requests together (``serving.runtime.generation``), through the same
``Text``, so that a text is the same however it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from decoding.forms import Form
from decoding.running import DEFAULTS, RANGES, RunningRow, RunningRows, checked_settings
from decoding.stepping import DecodingError
from pipelines.detokenizing import Detokenizer, StoppedText
from pipelines.program import NEXT, Core, Cores, Program
from pipelines.ragged import Arrays, Field, padded
from pipelines.text import PAD, UNKNOWN

# Between several stop strings of one row; ASCII calls it the unit separator.
SEPARATOR = "\x1f"
# Reasons why a text ends.
AT_END, AT_LENGTH, AT_STOP = "end", "length", "stop"
MAX_STOPS, MAX_STOP_LENGTH = 16, 1000
MOST_FORMS, MOST_FORM_BYTES = 16, 64 * 2**20  # that are kept, the newest
_DTYPES = {float: "float32", int: "int64", str: "string"}


class Piece(NamedTuple):
    """What one id adds to a text.

    Attributes:
        index: which of the request's texts.
        token: the id; the end id too.
        text: the text that is final with it, which may be "".
        log_probability: by the model, before any setting.
    """

    index: int
    token: int
    text: str
    log_probability: float


@dataclass(eq=False)
class Text:
    """One text that is being written.

    Args:
        row: what is read, and the settings.
        detokenizer: of the program.
        end: id that ends a text; None if there is none.
        stops: strings before which it ends.

    Attributes:
        ids: those written so far, without the end.
        pieces: the text so far; joined, the text.
        finish_reason: ``AT_END``, ``AT_LENGTH`` or ``AT_STOP``; "" while it goes on.
    """

    row: RunningRow
    detokenizer: Detokenizer
    end: int | None
    stops: tuple[str, ...] = ()
    ids: list[int] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    finish_reason: str = ""

    def __post_init__(self) -> None:
        self._stopped = StoppedText(self.detokenizer.begin(), self.stops)

    def push(self, number: int) -> str:
        """The text that is final with one more id, which may be the end id.

        After it ``finish_reason`` says whether the text has ended; all of it was given then.
        """
        if number == self.end:
            self.finish_reason, piece = AT_END, self._stopped.flush()
        else:
            self.ids.append(number)
            piece = self._stopped.push(number)
            if self._stopped.stopped:
                self.finish_reason = AT_STOP
            elif self.row.position >= self.row.max_tokens:
                self.finish_reason, piece = AT_LENGTH, piece + self._stopped.flush()
        if self._stopped.stopped:  # also by what was held back until the end
            self.finish_reason = AT_STOP
        self.pieces.append(piece)
        return piece

    @property
    def text(self) -> str:
        """All of it so far."""
        return "".join(self.pieces)


class WritingProgram(Program):
    """A program ``generate``: text in, and decoding settings that may be left out; text out.

    A subclass has ``prompts``, ``detokenizer`` and ``end``, and ``settings``. It may have other
    inputs, and ``decode`` to other outputs; what it gets there is ``finished``.

    Attributes:
        step_input: name of the input of the core that takes the last id of each row.
        step_output: name of the core's log-probabilities.
        reader: name of a core that takes many ids of a row at once, see ``read``; None if there is
            none. Servers read long prompts with it.
        end: id that ends a text; None if there is none.
        settings: default of each decoding setting that requests may have: of ``RANGES``, and
            ``stop``, one or more strings with ``SEPARATOR`` between them, "" for none; ``form``,
            a regular expression (``decoding.forms``), "" for any text.
    """

    cores = ("step",)
    fields = {"tokens": Field(PAD, "length"), "ids": Field(PAD, "written")}
    step_input = "tokens"
    step_output = "log_probabilities"
    reader: str | None = None
    end: int | None = None
    settings: Mapping[str, Any] = DEFAULTS

    def prompts(self, request: Arrays) -> list[np.ndarray]:
        """The ids ``<int32>[n]`` that each row begins with: one or more, a start id at least."""
        raise NotImplementedError

    def detokenizer(self) -> Detokenizer:
        """What each id adds to a text; asked for once."""
        raise NotImplementedError

    @property
    def signature(self) -> dict[str, Any]:
        """``text`` and the settings to ``continuation`` and its ``log_probability``."""
        settings = {
            name: {"dtype": _DTYPES[type(value)], "shape": [-1], "default": value}
            for name, value in self.settings.items()
        }
        return {
            "inputs": {"text": {"dtype": "string", "shape": [-1]}, **settings},
            "outputs": {
                "continuation": {"dtype": "string", "shape": [-1]},
                "log_probability": {"dtype": "float32", "shape": [-1]},
            },
        }

    def encode(self, request: Arrays) -> Arrays:
        """``tokens`` of the prompts, their ``length``, and the settings, one value for each row.

        Raises:
            ValueError: a setting is out of range.
        """
        rows = self.prompts(request)
        tokens = padded(rows, PAD) if rows else np.zeros((0, 1), np.int32)
        settings = {n: checked_settings(n, request[n]) for n in self.settings if n in RANGES}
        if "stop" in self.settings:
            settings["stop"] = request["stop"]
            for value in request["stop"]:
                stop_strings(value)
        if "form" in self.settings:
            settings["form"] = request["form"]
            for value, prompt in zip(request["form"], rows, strict=True):
                self._form(value, prompt)
        return {"tokens": tokens, "length": np.array([*map(len, rows)], np.int32), **settings}

    def texts(self, encoded: Arrays) -> list[Text]:
        """A ``Text`` for each row of what ``encode`` gave."""
        if not hasattr(self, "_detokenizer"):
            self._detokenizer = self.detokenizer()
        names = [name for name in self.settings if name in RANGES]
        found = []
        for i, length in enumerate(encoded["length"].tolist()):
            settings = {name: encoded[name][i].item() for name in names}
            stops = stop_strings(encoded["stop"][i]) if "stop" in encoded else ()
            row = RunningRow(encoded["tokens"][i, :length], settings)
            if "form" in encoded:
                row.form, row.form_state = self._form(encoded["form"][i], row.prompt)
            found.append(Text(row, self._detokenizer, self.end, stops))
        return found

    def _form(self, value: str | bytes, prompt: np.ndarray) -> tuple[Form | None, int]:
        """A form, and its state behind a prompt.

        Raises:
            DecodingError: it cannot be, or the prompt does not begin so.
        """
        pattern = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        if not pattern:
            return None, 0
        form = self._forms.get(pattern)
        if form is None:
            form = self._forms[pattern] = form_of(pattern, self.detokenizer(), self.end)
            # Requests come in several threads: one of the old may be gone already.
            for old in list(self._forms)[:-MOST_FORMS]:
                self._forms.pop(old, None)
            kept = [(name, one.table.nbytes) for name, one in list(self._forms.items())]
            over = sum(size for _, size in kept) - MOST_FORM_BYTES
            for old, size in kept[:-1]:
                if over > 0:
                    self._forms.pop(old, None)
                    over -= size
        return form, form.behind(prompt[1:])

    @cached_property
    def _forms(self) -> dict[str, Form]:
        return {}

    def read(self, core: Core, ids: np.ndarray, states: Arrays) -> Arrays:
        """The states of the core ``step`` after ids ``<int32>[rows, time]``, read by ``reader``."""
        found = core({self.step_input: ids, **states})
        return {name: found[f"{name}{NEXT}"] for name in states}

    def running(self, core: Core) -> RunningRows:
        """Rows on the core ``step``, none so far."""
        # Its inputs are right by the way they are made, and there is a row at least.
        call = getattr(core, "unchecked", core)
        ids, values, names = self.step_input, self.step_output, tuple(core.states)

        def step(last: np.ndarray, states: Arrays) -> tuple[np.ndarray, Arrays]:
            found = call({ids: last, **states})
            return found[values], {name: found[f"{name}{NEXT}"] for name in names}

        return RunningRows(step, core.states)

    def execute(self, cores: Cores, encoded: Arrays) -> Arrays:
        """Writes all texts; see ``finished``.

        Raises:
            DecodingError: the model gave no probabilities.
        """
        texts = self.texts(encoded)
        for _ in self.pieces(cores, texts):
            pass
        return self.finished(texts)

    def pieces(self, cores: Cores, texts: Sequence[Text]) -> Iterator[Piece]:
        """Writes texts, and gives what each id adds as it comes.

        Args:
            cores: with ``step``.
            texts: as ``texts`` gives them.

        Raises:
            DecodingError: the model gave no probabilities.
        """
        running = self.running(cores[self.cores[0]])
        index = {text.row: i for i, text in enumerate(texts)}
        for row in index:
            running.join(row)
        while running:
            for drawn in running.advance():
                if drawn.error is not None:
                    raise drawn.error
                text = texts[index[drawn.row]]
                piece = text.push(drawn.id)
                if text.finish_reason:
                    running.leave(drawn.row)
                yield Piece(index[drawn.row], drawn.id, piece, drawn.log_probability)

    def finished(self, texts: Sequence[Text]) -> Arrays:
        """Texts that have ended, as ``decode`` takes them.

        Returns:
            ``ids <int32>[rows, longest]``, how many were ``written <int32>[rows]``,
            ``log_probability <float32>[rows]`` with that of the end, ``continuation`` and
            ``finish_reason <object>[rows]`` of bytes.
        """
        ids = [np.array(text.ids, np.int32) for text in texts]
        return {
            "ids": padded(ids, PAD) if ids else np.zeros((0, 0), np.int32),
            "written": np.array([*map(len, ids)], np.int32),
            "log_probability": np.array([text.row.score for text in texts], np.float32),
            "continuation": _bytes([text.text for text in texts]),
            "finish_reason": _bytes([text.finish_reason for text in texts]),
        }

    def decode(self, outputs: Arrays) -> Arrays:
        """What the signature has of it."""
        return {name: outputs[name] for name in self.signature["outputs"]}


def form_of(pattern: str, detokenizer: Detokenizer, end: int | None) -> Form:
    """A form over the units of a program.

    Raises:
        DecodingError: it cannot be.
    """
    if end is None or detokenizer.spaced:
        what = "words" if detokenizer.spaced else "texts without an end"
        raise DecodingError(f"form is for texts of characters that end; this model writes {what}")
    return Form(pattern, [text or "" for text in detokenizer.texts], end, UNKNOWN)


def stop_strings(value: str | bytes) -> tuple[str, ...]:
    """The stop strings of one row.

    Raises:
        ValueError: there are too many, or one is too long.
    """
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    found = tuple(part for part in text.split(SEPARATOR) if part)
    if len(found) > MAX_STOPS or any(len(part) > MAX_STOP_LENGTH for part in found):
        raise ValueError(
            f"stop has {len(found)} strings, the longest of {max(map(len, found))} characters; "
            f"it may have {MAX_STOPS} of {MAX_STOP_LENGTH} characters"
        )
    return found


def _bytes(values: Sequence[str]) -> np.ndarray:
    found = np.empty(len(values), object)
    found[:] = [value.encode("utf-8") for value in values]
    return found
