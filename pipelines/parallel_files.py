"""Parallel files: ``train.en`` beside ``train.de``, the same line of both a pair.

Nothing here reads what is in them. A file is named ``<set>.<language>``, perhaps with ``.txt`` or
``.gz`` behind it, and its set says the part: ``train``, ``val``, ``test_2016_flickr``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from common.errors import DataError
from pipelines.layout import PART_WORDS, part_of
from pipelines.messages import name_list
from pipelines.readers import formats

_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8})*|source|target")
# Names of sides that say the direction by themselves.
_DIRECTIONS = (("src", "tgt"), ("src", "trg"), ("source", "target"))


@dataclass(frozen=True)
class ParallelSet:
    """The two files of one set.

    Attributes:
        name: what both names begin with, such as "test_2016_flickr".
        source: file of the source language.
        target: file of the target language.
    """

    name: str
    source: Path
    target: Path


@dataclass(frozen=True)
class ParallelLayout:
    """The sets of a directory.

    Attributes:
        name: of the data.
        parts: sets by part; "train" is always there.
        notes: plain sentences for the user.
    """

    name: str
    parts: dict[str, list[ParallelSet]]
    notes: list[str]


def locate_parallel(
    path: Path, source_language: str = "", target_language: str = "", test_set: str = ""
) -> ParallelLayout | None:
    """Finds the parallel files in a directory, or those whose names begin alike.

    Args:
        path: a directory, or what the names of two files have in common: ``corpus`` for
            ``corpus.en`` and ``corpus.de``.
        source_language: extension of the files to translate from; "" where the names say it.
        target_language: extension of the files to translate to.
        test_set: name of the set to test on; the first by name if "".

    Returns:
        The sets, or None where there are no such files.

    Raises:
        DataError: the languages are not clear, or there is no such set.
    """
    sets = _sets(path)
    if not sets:
        return None
    parts = _by_part(sets)
    languages = sorted({language for name in parts["train"] for language in sets[name]})
    pair = _direction(path, languages, source_language, target_language)
    notes, chosen = [], {}
    for part, names in parts.items():
        there = [name for name in names if set(pair) <= set(sets[name])]
        if part == "test" and test_set:
            there = [_named(path, test_set, sets, pair)]
        if not there and part == "train":
            raise DataError(
                f"{path} has no training files of both {pair[0]} and {pair[1]}; there are: "
                f"{name_list([f'{name}.{one}' for name in names for one in sorted(sets[name])])}."
            )
        if part != "train" and len(there) > 1:
            flag = " (another: --test-set NAME)" if part == "test" else ""
            notes.append(f"The {part} part is {there[0]}, of {name_list(there)}{flag}.")
            there = there[:1]
        if there:
            chosen[part] = [
                ParallelSet(name, *(sets[name][language] for language in pair)) for name in there
            ]
    if test_set and "test" not in parts:
        name = _named(path, test_set, sets, pair)
        chosen["test"] = [ParallelSet(name, *(sets[name][language] for language in pair))]
        chosen["train"] = [one for one in chosen["train"] if one.name != name]
    layout = ParallelLayout(path.resolve().name or "data", chosen, notes)
    return replace(layout, name=f"{layout.name}-{pair[0]}-{pair[1]}")


def _sets(path: Path) -> dict[str, dict[str, Path]]:
    """Files by set and language, of sets in two languages at least."""
    directory, begin = (path, "") if path.is_dir() else (path.parent, f"{path.name}.")
    if path.is_file() or not directory.is_dir():
        return {}
    found: dict[str, dict[str, Path]] = defaultdict(dict)
    for file in sorted(directory.iterdir()):
        name = file.name.removesuffix(".gz").removesuffix(".txt")
        stem, _, language = name.rpartition(".")
        if not (file.is_file() and stem and name.startswith(begin)) or stem.startswith("."):
            continue
        known = language.lower() in formats() or language.lower() in PART_WORDS
        if _LANGUAGE.fullmatch(language) and not known:
            other = found[stem].setdefault(language, file)
            if other != file:
                raise DataError(
                    f"{directory}: {other.name} and {file.name} are the same file twice; keep one."
                )
    return {name: files for name, files in found.items() if len(files) > 1}


def _by_part(sets: dict[str, dict[str, Path]]) -> dict[str, list[str]]:
    """Names of sets by part; all are train where no name says so."""
    parts: dict[str, list[str]] = defaultdict(list)
    for name in sets:
        found = part_of(name)
        if found:
            parts[found[0]].append(name)
    return dict(parts) if "train" in parts else {"train": list(sets)}


def _direction(path: Path, languages: Sequence[str], source: str, target: str) -> tuple[str, str]:
    """The two languages, by the flags and what is there."""
    for flag, language in (("source", source), ("target", target)):
        if language and language not in languages:
            raise DataError(
                f"{path} has no training file in {language!r}; --{flag}-language is one of "
                f"{', '.join(languages)}."
            )
    if source and source == target:
        raise DataError(
            f"--source-language and --target-language are both {source!r}; name two of "
            f"{', '.join(languages)}."
        )
    others = [one for one in languages if one not in (source, target)]
    if len(languages) == 2 and (source or target):
        return source or others[0], target or others[0]
    if source and target:
        return source, target
    known = [pair for pair in _DIRECTIONS if set(pair) <= set(languages)]
    if known and not (source or target):
        return known[0]
    raise DataError(
        f"{path} holds parallel files in {name_list(languages)}; say which way to translate: "
        f"--source-language {source or languages[0]} --target-language "
        f"{target or next(one for one in languages if one != (source or languages[0]))}."
    )


def _named(path: Path, name: str, sets: dict[str, dict[str, Path]], pair: tuple[str, str]) -> str:
    """The set that ``--test-set`` names."""
    if name in sets and set(pair) <= set(sets[name]):
        return name
    there = [one for one, files in sets.items() if set(pair) <= set(files)]
    raise DataError(f"{path} has no set {name!r}; --test-set is one of {', '.join(there)}.")
