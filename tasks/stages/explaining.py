"""Explains answers of a run: the stage behind ``seqloom explain``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import DataError
from common.files import write_text
from pipelines.responses import readable
from reports.explanation import Explanation, explanation_csv, explanation_page
from reports.explanation_charts import LayerStates
from tasks.stages.console import load_tensorflow
from tasks.stages.directories import RUN, required
from tasks.stages.predicting import Answerer, keras_program

if TYPE_CHECKING:
    from models.attribution import Attribution, Entry
    from models.stepwise import RecurrentSteps
    from pipelines.program import LoadedProgram
    from tasks.kinds.question import Question

EXTENSIONS = (".html", ".png", ".csv")
REST = "what is not by step"
MOST_INPUT = 200  # characters of an input that are shown


class Explainer:
    """A run whose answers are explained; what it needs is loaded once.

    Args:
        run: its directory, or an object that has one as ``path``.
        answerer: of that directory, where there is one already.

    Raises:
        DataError: it is no finished run.
    """

    def __init__(self, run: Any, answerer: Answerer | None = None) -> None:
        self.path = required(Path(getattr(run, "path", run)), RUN, finished=True)
        self.answerer = answerer or Answerer(self.path)

    @cached_property
    def _program(self) -> LoadedProgram:
        return keras_program(self.answerer.task, self.answerer.model, self.answerer.preprocessor)

    def explain(self, raw: Any, target: str | int = "") -> Explanation:
        """What moved the answer to one input.

        Args:
            raw: as the kind has it; a text is what a person would type.
            target: which number of the answer is explained, see the kind's page; its own choice
                if empty.

        Raises:
            DataError: the input cannot be read, or there is no such target.
            ConfigError: the kind has no explanations.
        """
        answerer = self.answerer
        raw = answerer.task.parse_input(raw) if isinstance(raw, str) else raw
        load_tensorflow()
        from models.attribution import integrated_gradients
        from models.stepwise import stepwise

        (answer,) = readable(self._program, answerer.preprocessor, [raw])
        model = answerer.model
        question = answerer.task.question(model, answerer.preprocessor, raw, answer, str(target))
        found = integrated_gradients(
            model, question.inputs, question.score, question.baselines
        )  # fmt: skip
        with stepwise(model) as calls:
            model(dict(question.inputs), training=False)
        attributions, parts, notes = placed(question, found)
        return Explanation(
            task=answerer.task.name,
            input=_shown(raw),
            answer=answerer.task.format_answer(raw, answer),
            target=question.target,
            view=question.view,
            steps=tuple(question.steps),
            columns=tuple(question.columns),
            attributions=attributions,
            values=question.values,
            parts=parts,
            score=found.score,
            baseline_score=found.baseline_score,
            baseline=question.baseline,
            residual=found.residual,
            points=found.points,
            complete=found.complete,
            layers=tuple(filter(None, (layer_states(one, question) for one in calls))),
            joint=question.joint,
            notes=(*question.notes, *notes),
        )


def explain(run: Any, raw: Any, target: str | int = "") -> Explanation:
    """What moved a run's answer to one input; see ``Explainer``."""
    return Explainer(run).explain(raw, target)


def placed(
    question: Question, found: Attribution
) -> tuple[np.ndarray, dict[str, float], tuple[str, ...]]:
    """Attributions on the steps (and columns) of a question, their sums by path, and notes."""
    size = (len(question.steps), *([len(question.columns)] if question.columns else []))
    total, parts, notes = np.zeros(size), {}, ()
    for name, entry in found.entries.items():
        each, part = _by_step(question, name, entry, size), question.parts.get(name, "network")
        if each is None:
            part = REST
        else:
            total += each
        parts[part] = parts.get(part, 0.0) + float(entry.attributions.sum(dtype=np.float64))
    if REST in parts:
        notes = ("A part of the model reads the input whole: what it adds lies on no step.",)
    return total, parts, notes


def _by_step(
    question: Question, name: str, entry: Entry, size: tuple[int, ...]
) -> np.ndarray | None:
    if name in question.spread:
        return question.spread[name](entry)
    each = np.asarray(entry.attributions, np.float64)
    if each.shape[: len(size)] != size:
        return None
    return each.sum(tuple(range(len(size), each.ndim)))


def layer_states(steps: RecurrentSteps, question: Question) -> LayerStates | None:
    """The states of a call of a recurrent layer; None where it went fewer than three steps, or
    read something else than the steps of the example, such as the letters of its words."""
    from models.stepwise import saturated

    if question.row >= len(steps.valid) or len(steps.valid) > max(1, question.rows):
        return None
    inside = steps.inside[question.row]
    if inside.sum() < 3:
        return None
    h = steps.array(steps.states["h"])[question.row][inside]
    shares = {}
    for gate, values in {**steps.gates, "h": steps.states["h"]}.items():
        ends = saturated(steps.array(values)[question.row][inside], steps.activations[gate])
        if ends is not None:
            name = "state" if gate == "h" else gate
            shares[name] = np.stack([one.mean(1) for one in ends], 1)
    names = question.steps
    if len(names) != len(inside):
        names = [f"step {i}" for i in range(1, len(inside) + 1)]
    names = [str(name) for name, there in zip(names, inside, strict=True) if there]
    path, variance = principal_components(h)
    return LayerStates(steps.name, names, path, variance, shares)


def principal_components(states: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
    """States on their first two principal components, and the share of variance of each.

    Args:
        states: ``<float>[steps, units]``.

    Returns:
        ``<float>[steps, 2]``; zeros where there is no second.
    """
    centred = np.asarray(states, np.float64) - states.mean(0, dtype=np.float64)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    scores, total = left * sizes, float((sizes**2).sum())
    found = np.zeros((len(states), 2))
    count = min(2, scores.shape[1])
    found[:, :count] = scores[:, :count]
    shares = [float(s**2) / total if total else 0.0 for s in (*sizes[:2], 0.0)]
    return found, (shares[0], shares[1])


def _shown(raw: Any) -> str:
    """An input in one line."""
    if isinstance(raw, bytes):
        raw = raw.decode("utf-8", "replace")
    if isinstance(raw, str):
        text = " ".join(raw.split())
    elif isinstance(raw, Mapping):
        texts = [one for one in raw.values() if isinstance(one, str) and one]
        text = " | ".join(texts) or "input"
    elif isinstance(raw, Sequence) and all(isinstance(one, str) for one in raw):
        text = " ".join(raw)
    else:
        steps = f"{len(raw)} steps" if hasattr(raw, "__len__") else "input"
        text = str(getattr(raw, "name", "") or steps)
    return text if len(text) <= MOST_INPUT else f"{text[: MOST_INPUT - 3]}..."


def write_explanations(found: Sequence[Explanation], path: Path, run: Path) -> None:
    """Writes explanations as a page, a picture or a table, by the file's extension.

    Raises:
        DataError: a picture of several explanations.
    """
    if path.suffix == ".csv":
        write_text(path, explanation_csv(found))
    elif path.suffix == ".html":
        write_text(path, explanation_page(found, run.name))
    elif len(found) != 1:
        raise DataError(f"--out {path} is one picture; {len(found)} inputs were given: use .html")
    else:
        aside = path.with_name(f".{path.name}")
        try:
            found[0].drawing().save_png(aside)
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
