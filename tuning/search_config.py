"""``search.json``: the settings of a search, and the check that a restart asks for the same."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from common.errors import DataError
from common.files import write_json

FORMAT = 2
# Entries that may differ from one start to the next without changing any trial.
FREE = ("trials", "max_pending", "prune", "extended", "proportion_of")
# Names of entries that earlier versions wrote.
_OLD_NAMES = {"lag": "max_pending"}


def save_search_config(
    directory: Path,
    about: dict[str, Any],
    extend: bool = False,
    places: Collection[str] = ("source",),
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Writes ``search.json``, after a check that an existing one describes the same search.

    The number of trials may differ, and so may the places of the data, if its fingerprint is equal:
    the same files may be named by another path, or be on another machine. The new places are kept.

    Args:
        directory: directory of the search.
        about: the search that is asked for: plan, data, settings, and ``space`` in the format of
            KerasTuner's ``HyperParameters.get_config()``.
        extend: whether a larger space is accepted, if the trials so far stay valid in it.
        places: names of the entries of ``data``, or of its ``reading``, that say where files are.
        tell: shows the user a message.

    Returns:
        The content that was written. ``max_pending`` and ``prune`` are those of the first start.

    Raises:
        DataError: the directory holds another search; the message names the differences.
    """
    path = directory / "search.json"
    if not path.is_file():
        write_json(path, {"format": FORMAT, **about})
        return about
    before = {
        _OLD_NAMES.get(name, name): value
        for name, value in json.loads(path.read_text(encoding="utf-8")).items()
    }
    if before.get("format") != FORMAT:
        raise DataError(
            f"{directory} holds a search of another version of Seqloom; name another --out"
        )
    asked, about = about, _at_its_places(before, about, places)
    found = differences(before, about)
    if found and not (extend and extendable(before, about)):
        raise DataError(
            f"{directory} holds another search: {'; '.join(found)}. "
            + _way_out(before, about, extend)
        )
    pending = before.get("max_pending", about.get("max_pending"))
    # Searches of earlier versions had no ``prune``.
    pruned = {"prune": before.get("prune", False)} if "prune" in asked else {}
    written = {"format": FORMAT, **asked, "max_pending": pending, **pruned}
    if found:
        trials = sum(path.is_dir() for path in directory.glob("trials/*"))
        past = {"trials": trials, "space": before["space"]}
        written["extended"] = [*before.get("extended", []), past]
    elif "extended" in before:
        written["extended"] = before["extended"]
    write_json(path, written)
    if written.get("prune") != asked.get("prune"):
        how = "with" if written["prune"] else "without"
        tell(f"note: the search began {how} pruning, and goes on so")
    if asked != about:
        phrases = "; ".join(_differing("data", before["data"], asked["data"], set()))
        tell(f"note: {phrases}: the content is the same, so the search goes on from there")
    return written


def _at_its_places(
    before: dict[str, Any], now: dict[str, Any], places: Collection[str]
) -> dict[str, Any]:
    """The search that is asked for, with the places where its data was, if the data is the same."""
    old, new = before.get("data"), now.get("data")
    known = before.get("data_fingerprint") == now.get("data_fingerprint")
    if not known or not isinstance(old, dict) or not isinstance(new, dict):
        return now
    return {**now, "data": _placed_as(old, new, places)}


def _placed_as(old: Any, new: dict[str, Any], places: Collection[str]) -> dict[str, Any]:
    """Entries of ``new``, those in ``places`` as they are in ``old`` where both name one."""
    old = old if isinstance(old, dict) else {}
    kept = {name: old[name] for name in places if old.get(name) and new.get(name)}
    inner = {
        name: _placed_as(old.get(name), value, places)
        for name, value in new.items() if isinstance(value, dict)
    }  # fmt: skip
    return {**new, **kept, **inner}


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """One phrase for each difference between two searches."""
    found = _settings_differ(before, now)
    old, new = _by_name(before["space"]), _by_name(now["space"])
    for name in dict.fromkeys([*old, *new]):
        one, other = old.get(name), new.get(name)
        if one is None:
            found.append(f"{name} was not searched, and is now ({_described(other)})")
        elif other is None:
            found.append(f"{name} was searched ({_described(one)}), and is not now")
        elif one != other:
            found.append(f"{name} was {_described(one)}, now {_described(other)}")
    return found


def extendable(before: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether the searches differ only in the space, and the new space contains the old one.

    Never for a grid search, because a larger grid has another order.
    """
    if _settings_differ(before, now):
        return False
    old, new = _by_name(before["space"]), _by_name(now["space"])
    covered = all(name in new and _covers(new[name], item) for name, item in old.items())
    return now["strategy"] != "grid" and covered


def _settings_differ(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """One phrase for each difference other than the space."""
    searched = {item["config"]["name"] for item in [*before["space"], *now["space"]]}
    return [
        phrase for name, value in now.items() if name not in (*FREE, "space")
        for phrase in _differing(name, before.get(name), value, searched)
    ]  # fmt: skip


def _differing(name: str, before: Any, now: Any, searched: set[str]) -> list[str]:
    """Phrases for one entry, without settings that are searched: the space describes those."""
    if isinstance(now, dict) and isinstance(before, dict):
        return [
            phrase for key in dict.fromkeys([*before, *now]) if key not in searched
            for phrase in _differing(key, before.get(key), now.get(key), set())
        ]  # fmt: skip
    if before == now:
        return []
    if name == "data_fingerprint":
        return [f"the content of the data has changed (fingerprint {before[:12]}, now {now[:12]})"]
    return [f"{name} was {before!r}, now {now!r}"]


def _way_out(before: dict[str, Any], now: dict[str, Any], extend: bool) -> str:
    if not extend and extendable(before, now):
        return "Add --extend to go on in the larger space, or name another --out"
    return "Ask for the same, or name another --out"


def _by_name(space: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {item["config"]["name"]: json.loads(json.dumps(item)) for item in space}


def _described(item: dict[str, Any]) -> str:
    """A hyperparameter in words, such as "one of 32, 64, default 32"."""
    config = item["config"]
    where = "".join(
        f", where {at['config']['name']} is {' or '.join(map(str, at['config']['values']))}"
        for at in config.get("conditions", ())
    )
    if "value" in config:
        return f"always {config['value']}{where}"
    end = f", default {config.get('default')}{where}"
    if "values" in config:
        return "one of " + ", ".join(map(str, config["values"])) + end
    if "min_value" in config:
        step = f" by {config['step']}" if config.get("step") else ""
        scale = f" ({config['sampling']})" if config.get("sampling") == "log" else ""
        return f"{config['min_value']} to {config['max_value']}{step}{scale}{end}"
    return item["class_name"].lower() + end


def _covers(new: dict[str, Any], old: dict[str, Any]) -> bool:
    """Whether every value of the old hyperparameter is also a value of the new one."""
    one, other = new["config"], old["config"]
    if new["class_name"] != old["class_name"] or one["conditions"] != other["conditions"]:
        return False
    if "value" in one:
        return one["value"] == other["value"]
    if "values" in one:
        return set(other["values"]) <= set(one["values"])
    if "min_value" in one:
        same = one.get("sampling") == other.get("sampling") and one.get("step") == other.get("step")
        wide = one["min_value"] <= other["min_value"] and one["max_value"] >= other["max_value"]
        return same and wide and _same_steps(one, other)
    return True


def _same_steps(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether the steps from ``one``'s minimum reach the minimum of ``other``."""
    step, low, high = one.get("step"), one["min_value"], other["min_value"]
    if not step:
        return True
    # With logarithmic sampling, KerasTuner multiplies by the step.
    count = math.log(high / low, step) if one.get("sampling") == "log" else (high - low) / step
    return math.isclose(count, round(count), abs_tol=1e-9)
