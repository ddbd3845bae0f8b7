"""What is known of a run, for its page and for its model card."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.metric import Metric
from reports.axes import score_text
from reports.intervals import Compared, Interval, compared
from reports.judged import Judged, read_judged


@dataclass(frozen=True)
class ReportedRun:
    """Plain data about a run from which its page is made.

    Attributes:
        path: the run's directory, which holds ``metrics.json``, ``history.csv`` and so on.
        config: content of ``config.json``: task, data, model, preprocessor, seed.
        finished: whether the trained model is there.
        kind: kind of the task; "" if this installation does not have the task.
        metric: metric of the task; None if this installation does not have the task.
        headline: metrics of test that the page begins with, if they are measured.
        hub: what model hubs call the kind, such as "text-classification"; "" if they have no name.
    """

    path: Path
    config: Mapping[str, Any]
    finished: bool
    kind: str = ""
    metric: Metric | None = None
    headline: Sequence[str] = ()
    hub: str = ""

    @property
    def title(self) -> str:
        """Task, and the last of the path that tells runs apart."""
        path = self.path.resolve()
        within = path.name in ("model", "best") or path.name.startswith("run-")
        return f"{self.config['task']}: {'/'.join(path.parts[-2:] if within else path.parts[-1:])}"

    def read(self, name: str) -> dict[str, Any]:
        """The JSON object in one of its files; an empty one if there is none."""
        return _read(self.path / name)

    def judged(self) -> Judged | None:
        """How its test examples were answered; None of a run that does not tell."""
        return (
            read_judged(self.path / "judged") if self.read("metrics.json").get("metrics") else None
        )


def intervals_of(judged: Judged | None) -> dict[str, Compared]:
    """Intervals of test's metrics, as far as its examples are known."""
    names = dict.fromkeys(name for one in (judged.examples if judged else ()) for name in one.sums)
    found = {name: compared(judged, name) for name in names}
    return {name: one for name, one in found.items() if one is not None}


def exported(run: ReportedRun, bundle: Path | None = None) -> dict[str, Any] | None:
    """What ``artifact_rows`` takes, and the ``version``; None if the run was not exported.

    Args:
        run: a run.
        bundle: of it; if None, that inside the run, or next to it if one command made both.
    """
    places = [bundle] if bundle else [run.path / "bundle", run.path.resolve().parent / "bundle"]
    for place in places:
        manifest = _read(place / "manifest.json")
        # A bundle next to the run may be another run's.
        if manifest.get("artifacts") and manifest.get("config") == run.config:
            artifacts = manifest["artifacts"].items()
            return {
                "metric": run.metric.name if run.metric else "",
                "keras": manifest.get("keras") or {},
                "artifacts": {name: {"bytes": 0, **item} for name, item in artifacts},
                "bundle": place.name,
                "version": manifest.get("version"),
            }
    return None


def interval_text(interval: Interval | None) -> str:
    """``0.7550 to 0.8060``; "" where nothing is known."""
    if interval is None or not interval.is_known:
        return ""
    return f"{score_text(interval.low)} to {score_text(interval.high)}"


def chance_text(found: Compared) -> str:
    """Whether the difference to the baseline may be chance, in brackets."""
    away = found.difference
    if away is None or not away.is_known:
        return ""
    text = f" (95 % interval of the difference: {interval_text(away)}"
    if away.low <= 0 <= away.high:
        return f"{text}, so it may be chance)"
    return f"{text})"


def verdict(result: Mapping[str, Any], main: Metric | None, sure: Mapping[str, Compared]) -> str:
    """Whether the model is better than its baseline, in a sentence."""
    baseline = result.get("baseline")
    if not baseline or main is None:
        return "" if baseline else "No baseline was measured here."
    part = next((p for p in ("test", "validation") if main.name in baseline.get(p, {})), None)
    score = (result["metrics"].get(part) or {}).get(main.name)
    name = f"The baseline is {baseline.get('name', 'another model')}"
    if part is None or score is None:
        return f"{name}."
    other = baseline[part][main.name]
    ahead = score - other if main.mode == "max" else other - score
    if abs(ahead) < 1e-6 * abs(other):
        ahead = 0.0  # of a model that hands all to its baseline
    word = "better" if ahead > 0 else "worse" if ahead < 0 else "neither better nor worse"
    by = f" by {score_text(abs(ahead))}" if ahead else ""
    chance = chance_text(sure[main.name]) if part == "test" and main.name in sure else ""
    return f"{name}; on {part} the model's {words(main.name)} is {word}{by}{chance}."


def settings_of(values: Any) -> dict[str, Any]:
    """Settings with nested dicts flattened; settings that are None are left out."""
    found: dict[str, Any] = {}
    for name, value in values.items() if isinstance(values, dict) else ():
        if isinstance(value, dict):
            found.update(settings_of(value))
        elif value is not None and value != "":
            found[name] = json.dumps(value) if isinstance(value, list) else value
    return found


def _read(path: Path) -> dict[str, Any]:
    """The JSON object in a file; an empty one if there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def words(name: str) -> str:
    """A key of results as words."""
    return str(name).replace("_", " ")
