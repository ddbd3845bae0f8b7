"""A directory told as a page: the stage behind ``seqloom report``."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import DataError
from common.files import write_text
from tasks.stages.run_directory import Run

if TYPE_CHECKING:
    from reports.reported_run import ReportedRun
    from tuning.leaderboard import TrialRow


def report(directory: Path) -> Path:
    """Writes ``report.html`` of a search or of a run into its directory, and says where.

    A finished run gets ``model-card.md`` beside it.

    Raises:
        DataError: it is neither.
    """
    directory = Path(directory)
    if (directory / "search.json").is_file():
        page = _search_page(directory)
    elif (directory / "config.json").is_file():
        from reports.run_report import run_page

        run = Run(directory)
        page = run_page(reported_run(run), run_commands(run))
        if run.finished:
            write_card(run, directory)
    else:
        raise DataError(f"{directory} is neither a run nor a search; {_instead(directory)}")
    path = directory / "report.html"
    write_text(path, page)
    return path


def write_card(run: Run, directory: Path) -> Path:
    """Writes ``model-card.md`` of a finished run into its directory or that of its bundle."""
    from reports.model_card import model_card

    bundle = directory if (directory / "manifest.json").is_file() else None
    lines = [("Serve it", f"seqloom serve {_quoted(bundle.name)}")] if bundle else run_commands(run)
    path = directory / "model-card.md"
    write_text(path, model_card(reported_run(run), lines, bundle))
    return path


def reported_run(run: Run) -> ReportedRun:
    """The plain data about a run that its page is made from.

    Raises:
        DataError: ``config.json`` is missing or incomplete.
    """
    from reports.reported_run import ReportedRun

    config = run.config()
    try:
        task = run.task()
    except DataError:  # this installation does not have the task
        return ReportedRun(run.path, config, run.finished)
    told = task.kind, task.metric, task.headline, task.hub
    return ReportedRun(run.path, config, run.finished, *told)


def search_commands(
    directory: Path, about: Mapping[str, Any], best: TrialRow | None
) -> list[tuple[str, str]]:
    """What to do with a search, and the command for it.

    Args:
        directory: of the search.
        about: content of its ``search.json``.
        best: its best row, None where it has none.
    """
    name, commands = about.get("task"), []
    if not isinstance(name, str):
        return []
    kept = directory / "best"
    if (kept / "model.keras").is_file():
        commands += [
            ("Judge the best on the test part", f"seqloom evaluate {_quoted(kept)}"),
            ("Export the best", f"seqloom export {_quoted(kept)}"),
        ]
    settings = {**_mapping(about.get("model")), **_mapping(about.get("preprocessor"))}
    data = _mapping(about.get("data"))
    metric = _metric(name, str(about.get("metric", "")).removeprefix("val_"))
    if best is not None:
        drawn = {key: value for key, value in best.values.items() if "/" not in key}
        epochs = {"epochs": about["epochs"]} if about.get("epochs") else {}
        seed = {"seed": best.seed} if best.seed is not None else {}
        line = _command("train", name, data, {**settings, **drawn, **epochs}, {**metric, **seed})
        commands.append(("Train its configuration anew", line))
    plan = ["trials", "strategy", "epochs", "seed"]
    plan += ["executions"] if (about.get("executions") or 1) != 1 else []
    asked = {key: about[key] for key in plan if about.get(key) is not None}
    fixed = {key: value for key, value in settings.items() if key != "epochs"}
    line = _command("tune", name, data, fixed, {**metric, **asked, "out": str(directory)})
    return [*commands, ("Go on with the search, or on to more --trials", line)]


def run_commands(run: Run) -> list[tuple[str, str]]:
    """What to do with a run, and the command for it."""
    config, commands = run.config(), []
    name, data = str(config["task"]), _mapping(config["data"])
    settings = {**_mapping(config["model"]), **_mapping(config["preprocessor"])}
    path = _quoted(run.path)
    if not run.finished:
        return [("Go on with it", f"seqloom train {_quoted(name)} --resume --out {path}")]
    if not (run.path / "bundle" / "manifest.json").is_file():
        commands.append(("Export it", f"seqloom export {path}"))
    else:
        commands.append(("Serve it", f"seqloom serve {_quoted(run.path / 'bundle')}"))
    metric = _metric(name, config.get("metric"))
    line = _command("train", name, data, settings, {**metric, "seed": config["seed"]})
    return [*commands, ("Train the same again", line)]


def _search_page(directory: Path) -> str:
    from reports.search_report import search_page
    from tuning.leaderboard import best_row, read_search

    search = read_search(directory)
    best = best_row(search.rows)
    return search_page(search, search_commands(directory, search.about, best))


def _instead(directory: Path) -> str:
    """What the person may have meant."""
    kinds = (("model", "config.json"), ("search", "search.json"))
    inside = [str(directory / name) for name, file in kinds if (directory / name / file).is_file()]
    if inside:
        return f"but {' and '.join(inside)} can be reported"
    return "give a directory that `seqloom train` or `seqloom tune` wrote"


def _command(
    verb: str,
    name: str,
    data: Mapping[str, Any],
    settings: Mapping[str, Any],
    others: Mapping[str, Any],
) -> str:
    """A command with the flags that say more than its defaults."""
    words = ["seqloom", verb, name]
    if data.get("source"):
        words += ["--data", str(data["source"])]
    if data.get("seed"):
        words += ["--data-seed", str(data["seed"])]
    rest = {k: v for k, v in data.items() if k not in ("source", "seed", "reading")}
    reading, usual = {**rest, **_mapping(data.get("reading"))}, _defaults(name)
    for values in (reading, settings):
        for key, value in values.items():
            if value is not None and (key not in usual or usual[key] != value):
                words += _flag(key, value)
    for key, value in others.items():
        words += _flag(key, value)
    return shlex.join(words)


def _flag(name: str, value: Any) -> list[str]:
    flag = name.replace("_", "-")
    if name == "bidirectional":
        return [f"--{flag}" if value else "--unidirectional"]
    if isinstance(value, bool):
        return [f"--{flag}"] if value else [f"--no-{flag}"]
    if isinstance(value, str | int | float):
        return [f"--{flag}", str(value)]
    return ["--set", f"{name}={json.dumps(value)}"]


def _metric(name: str, metric: str | None) -> dict[str, Any]:
    """``--metric`` of what was chosen by another metric than the task's usual one."""
    import tasks

    try:
        usual = tasks.get(name).metric.name
    except DataError:
        return {}
    return {"metric": metric} if metric and metric != usual else {}


def _defaults(name: str) -> dict[str, Any]:
    """Settings of the task that need no flag; none of a task that is not here."""
    import tasks

    try:
        task = tasks.get(name)
    except DataError:
        return {}
    return {**task.model.to_dict(), **task.preprocessing.to_dict()}


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _quoted(word: Any) -> str:
    return shlex.quote(str(word))
