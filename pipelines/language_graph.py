"""``pipelines.language`` as TensorFlow ops."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from decoding.forms import NOWHERE, Form
from decoding.prefill_graph import prefill
from decoding.sampling_graph import sample
from decoding.stepping_graph import Step
from pipelines.program import NEXT
from pipelines.program_graph import GraphCores, GraphProgram, Tensors, as_step
from pipelines.units import END, PAD, START
from pipelines.units_graph import UnitsGraph
from pipelines.writing import form_of

SAMPLED = ("temperature", "top_k", "top_p", "max_tokens", "seed")
FORM = "form_state"


class _OfLanguageGraph(GraphProgram):
    def __init__(self, program: Any) -> None:
        super().__init__()
        self.units = UnitsGraph(program.units)
        self.preprocessor = program.preprocessor

    def numbers(self, texts: tf.Tensor, ends: bool) -> tf.RaggedTensor:
        """Units of texts with their start, and their end if told."""
        units = self.units.encode(texts)
        if self.preprocessor.backward:
            units = tf.reverse(units, [1])
        column = tf.ones([tf.shape(texts)[0], 1], tf.int32)
        return tf.concat([column * START, units, *[column * END] * ends], 1)


class ScoreGraph(_OfLanguageGraph):
    """``Score``."""

    def __init__(self, program: Any) -> None:
        super().__init__(program)
        self.shown = tf.constant(list(program.units.shown))
        self.chunk = program.chunk

    def encode(self, request: Tensors) -> Tensors:
        """``tokens``, the ``following`` ones, and their ``length``."""
        numbers = self.numbers(request["text"], self.preprocessor.ends)
        return {
            "tokens": numbers[:, :-1].to_tensor(PAD),
            "following": numbers[:, 1:].to_tensor(PAD),
            "length": tf.cast(numbers.row_lengths() - 1, tf.int32),
        }

    def execute(self, cores: GraphCores, encoded: Tensors) -> Tensors:
        """Chunk after chunk, the states carried."""
        core, tokens, following = cores["model"], encoded["tokens"], encoded["following"]
        rows, time = tf.unstack(tf.shape(tokens))
        states = {name: tf.zeros([rows, *shape]) for name, shape in core.states.items()}

        def body(start: tf.Tensor, states: Tensors, found: tf.Tensor) -> tuple:
            part = slice(start, start + self.chunk)
            outputs = core({"tokens": tokens[:, part], "following": following[:, part], **states})
            after = {name: outputs[f"{name}{NEXT}"] for name in states}
            return start + self.chunk, after, tf.concat([found, outputs["log_probabilities"]], 1)

        shapes = {name: tf.TensorShape([None, *core.states[name]]) for name in states}
        _, _, found = tf.while_loop(
            lambda start, *_: start < time,
            body,
            (tf.constant(0), states, tf.zeros([rows, 0])),
            shape_invariants=(tf.TensorShape([]), shapes, tf.TensorShape([None, None])),
        )
        return {**encoded, "log_probabilities": found}

    def decode(self, outputs: Tensors) -> Tensors:
        """The names of the units too, and the sum."""
        length, each = outputs["length"], outputs["log_probabilities"]
        inside = tf.sequence_mask(length, tf.shape(each)[1])
        each = tf.where(inside, each, 0.0)
        return {
            "log_probability": tf.cast(tf.reduce_sum(tf.cast(each, tf.float64), 1), tf.float32),
            "tokens": tf.where(inside, tf.gather(self.shown, outputs["following"]), ""),
            "log_probabilities": each,
            "length": length,
        }


class GenerateGraph(_OfLanguageGraph):
    """``Generate``. Of the settings that look at text, a graph has the form alone that is the
    default; stop strings, other forms and repetition penalties are refused."""

    cores = ("step",)

    def __init__(self, program: Any) -> None:
        super().__init__(program)
        self.defaults, self.end = dict(program.settings), program.end
        pattern = self.defaults["form"]
        self.form = form_of(pattern, program.detokenizer(), program.end) if pattern else None

    def encode(self, request: Tensors) -> Tensors:
        """``tokens`` of the beginning, their ``length``, and the settings."""
        only = {name: value for name, value in self.defaults.items() if name not in SAMPLED}
        checks = [
            tf.debugging.Assert(
                tf.reduce_all(request[name] == value),
                [f"a SavedModel has {name} {value!r} alone; Seqloom's server has any"],
            )
            for name, value in only.items()
        ]
        with tf.control_dependencies(checks):
            numbers = self.numbers(tf.identity(request["text"]), False)
        settings = {name: request[name] for name in SAMPLED}
        length = tf.cast(numbers.row_lengths(), tf.int32)
        return {"tokens": numbers.to_tensor(PAD), "length": length, **settings}

    def execute(self, cores: GraphCores, encoded: Tensors) -> Tensors:
        """Reads the beginning, then writes."""
        rows = tf.shape(encoded["tokens"])[0]
        step, states = as_step(cores["step"], rows)
        if self.form is not None:
            step, states = formed(step, states, self.form, rows)
        first, states = prefill(step, encoded["tokens"], encoded["length"], states)
        if self.form is not None:
            table = tf.constant(self.form.prompt_table())
            fits = form_behind(table, states[FORM], first) != NOWHERE
            message = "the text to go on with does not begin as form says"
            with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(fits), [message])]):
                first = tf.identity(first)
        settings = {name: encoded[name] for name in SAMPLED}
        found = sample(step, first, states, end=self.end, **settings)
        return {"ids": found.ids, "written": found.lengths, "log_probability": found.scores}

    def decode(self, outputs: Tensors) -> Tensors:
        """Text, without special units."""
        return {
            "continuation": self.units.decode(outputs["ids"], outputs["written"]),
            "log_probability": outputs["log_probability"],
        }


def formed(step: Step, states: Tensors, form: Form, rows: tf.Tensor) -> tuple[Step, Tensors]:
    """A step that gives what a form does not allow the log-probability -inf, and its states.

    Rows that have ended are stepped on with the others: from nowhere nothing leads back.
    """
    table, behind_prompt = tf.constant(form.table), tf.constant(form.prompt_table())

    def allowed(ids: tf.Tensor, states: Tensors) -> tuple[tf.Tensor, Tensors]:
        states = dict(states)
        behind = form_behind(behind_prompt, states.pop(FORM), ids)
        values, following = step(ids, states)
        free = tf.gather(table, tf.maximum(behind, 0)) != NOWHERE
        free |= (behind == NOWHERE)[:, None]
        return tf.where(free, values, float("-inf")), {**following, FORM: behind}

    return allowed, {**states, FORM: tf.fill([rows], form.first)}


def form_behind(table: tf.Tensor, before: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
    """The state of a form behind one more id, ``<int32>[rows]``."""
    behind = tf.gather_nd(table, tf.stack([tf.maximum(before, 0), ids], 1))
    # A start is no character, nor is what fills up the shorter beginnings of a batch.
    stays = (before == NOWHERE) | (ids == START) | (ids == PAD)
    return tf.where(stays, before, behind)


class StepGraph(GraphProgram):
    """``Step``."""

    cores = ("step",)

    def __init__(self, program: Any) -> None:
        super().__init__()
        self.size = len(program.units)

    def encode(self, request: Tensors) -> Tensors:
        """Numbers that the model has."""
        tokens = request["tokens"]
        known = tf.reduce_all((tokens >= 0) & (tokens < self.size))
        message = f"tokens must be from 0 to {self.size - 1}"
        with tf.control_dependencies([tf.debugging.Assert(known, [message])]):
            return {"tokens": tf.identity(tokens)}

    def decode(self, outputs: Tensors) -> Tensors:
        """As they are."""
        return {"log_probabilities": outputs["log_probabilities"]}
