"""Where pieces of music come from: MIDI files, JSON, or rules of harmony.

    splits = load_music("synthetic")         # chorales, see pipelines.synthetic_music
    splits = load_music("data/jsb-chorales-quarter.json")
    splits = load_music("data/tunes")        # a folder of .mid files, or train/, valid/, test/
    splits = load_music("tune.mid")

docs/music.md shows every form that is understood.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from common.errors import DataError
from pipelines.layout import PART_WORDS
from pipelines.midi import EXTENSIONS, read_midi
from pipelines.piano_roll import PianoRoll, checked_steps
from pipelines.splits import PARTS, Splits, make_splits
from pipelines.synthetic_music import DEFAULT_SIZE, synthetic_chorales
from pipelines.textfile import read_document

_WAY_OUT = (
    'give {"train": [...], "valid": [...], "test": [...]}, each a list of pieces, a piece a list '
    "of steps, and a step a list of MIDI numbers"
)


def load_music(
    source: Any,
    *,
    steps_per_beat: int = 1,
    seed: int = 0,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
) -> Splits[PianoRoll]:
    """Loads pieces.

    Args:
        source: "synthetic" or "synthetic:SIZE"; a MIDI or JSON file; a directory of MIDI files, of
            ``train``, ``valid`` and ``test`` directories with such, or of one JSON file.
        steps_per_beat: of MIDI files; steps of JSON are as they are written, and this says what
            they are.
        seed: which pieces are split off, and which synthetic ones are made.
        validation_fraction: share of train for a missing validation part.
        test_fraction: share of train for a missing test part.

    Raises:
        DataError: one sentence that names the file, the step and the way out.
    """
    split = {"seed": seed, "validation_fraction": validation_fraction,
             "test_fraction": test_fraction}  # fmt: skip
    if not isinstance(source, (str, os.PathLike)):
        raise DataError(
            f"the data source is a {type(source).__name__}; music is read from MIDI and JSON "
            "files: give a path"
        )
    kind, _, size = (source := os.fspath(source)).partition(":")
    if kind == "synthetic":
        if ":" in source and not size.isdecimal():
            raise DataError(
                f"'{source}': the size after the colon must be a number: synthetic:500."
            )
        pieces = synthetic_chorales(int(size) if size else DEFAULT_SIZE, seed)
        name = f"chorales-{len(pieces)}"
        return replace(_splits({"train": pieces}, name, split), notes=[])
    path = Path(source).expanduser()
    parts = _parts(path, steps_per_beat)
    return _splits(parts, path.stem if path.is_file() else path.resolve().name, split)


def read_pieces(path: Path, per_beat: int) -> list[PianoRoll]:
    """The pieces of one file: MIDI, or JSON of one piece or of many.

    Raises:
        DataError: see ``load_music``.
    """
    if not path.is_file():
        raise DataError(f"{path} is not there; name a MIDI or JSON file.")
    if path.suffix.lower() in EXTENSIONS:
        return [read_midi(path, per_beat)]
    if not _is_json(path):
        raise DataError(f"{path} is no music: name a .mid or .json file.")
    document = _json(path)
    if isinstance(document, Mapping):
        return [piece for part in _of_json(path, per_beat).values() for piece in part]
    if document and _depth(document) == 2:
        document = [document]
    return _pieces(document, str(path), per_beat)


def one_piece(text: str, per_beat: int) -> PianoRoll:
    """A piece that was typed: the name of a file that holds one, or JSON of its steps.

    Raises:
        DataError: it is neither, or the file holds several.
    """
    path = Path(text).expanduser()
    if text.lstrip()[:1] == "[":
        try:
            return PianoRoll(checked_steps(json.loads(text), "input"), per_beat)
        except (json.JSONDecodeError, RecursionError) as error:
            raise DataError(
                f"{text[:60]!r} is no JSON ({error}); give steps, as [[60, 64, 67], [60, 65, 69]]"
            ) from error
    pieces = read_pieces(path, per_beat)
    if len(pieces) != 1:
        raise DataError(f"{path} holds {len(pieces)} pieces; give --file {path} for all of them.")
    return pieces[0]


def _splits(
    parts: dict[str, list[PianoRoll]], name: str, split: dict[str, Any]
) -> Splits[PianoRoll]:
    return make_splits(
        parts, key=lambda piece: json.dumps(piece.steps).encode(), name=name, noun="pieces", **split
    )


def _parts(path: Path, per_beat: int) -> dict[str, list[PianoRoll]]:
    if path.is_file():
        if _is_json(path):
            return _of_json(path, per_beat)
        return {"train": read_pieces(path, per_beat)}
    if not path.is_dir():
        raise DataError(f"{path}: there is no such file or directory; check the path.")
    found: dict[str, list[PianoRoll]] = {}
    for folder in sorted(path.iterdir()):
        part = PART_WORDS.get(folder.name.lower())
        if part is None or not folder.is_dir():
            continue
        if part in found:
            raise DataError(f"{folder}: a second folder names the {part} part; keep one.")
        found[part] = _of_folder(folder, per_beat)
    if found:
        return found
    documents = sorted(file for file in path.iterdir() if _is_json(file))
    if len(documents) == 1 and not _midi_files(path):
        return _of_json(documents[0], per_beat)
    return {"train": _of_folder(path, per_beat)}


def _is_json(path: Path) -> bool:
    return path.name.lower().removesuffix(".gz").endswith(".json")


def _midi_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS)


def _of_folder(folder: Path, per_beat: int) -> list[PianoRoll]:
    files = _midi_files(folder)
    if not files:
        raise DataError(
            f"{folder} holds no music; put .mid files into it, or one .json file of pieces."
        )
    return [read_midi(file, per_beat) for file in files]


def _json(path: Path) -> Any:
    try:
        return json.loads(read_document(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: this is no JSON ({error.msg})") from error
    except RecursionError as error:
        raise DataError(f"{path} is nested too deeply; {_WAY_OUT}.") from error


def _of_json(path: Path, per_beat: int) -> dict[str, list[PianoRoll]]:
    """Parts of a JSON file; a list of pieces is all train."""
    document = _json(path)
    if isinstance(document, Sequence) and not isinstance(document, str):
        return {"train": _pieces(document, str(path), per_beat)}
    if not isinstance(document, Mapping) or not document:
        raise DataError(f"{path} holds {_described(document)}; {_WAY_OUT}.")
    found: dict[str, list[PianoRoll]] = {}
    for word, pieces in document.items():
        part = PART_WORDS.get(word.lower())
        if part is None:
            raise DataError(f"{path}: {word[:40]!r} names no part; {_WAY_OUT}.")
        if part in found:
            raise DataError(f"{path} has the {part} part twice, also as {word!r}.")
        found[part] = _pieces(pieces, f"{path}: {word}", per_beat)
    if "train" not in found:
        raise DataError(f"{path} has the parts {', '.join(found)}; train is missing.")
    return {part: found[part] for part in PARTS if part in found}


def _pieces(pieces: Any, where: str, per_beat: int) -> list[PianoRoll]:
    if not isinstance(pieces, list) or (pieces and _depth(pieces) != 3):
        raise DataError(f"{where} holds {_described(pieces)}; {_WAY_OUT}.")
    found = []
    for number, steps in enumerate(pieces):
        steps = checked_steps(steps, f"{where}, piece {number}")
        if not steps:
            raise DataError(f"{where}, piece {number} has no step; leave it away.")
        found.append(PianoRoll(steps, per_beat))
    return found


def _depth(value: Any) -> int:
    """How deep lists are nested where they are deepest, at most 4: pieces, steps and notes make 3,
    also where the first steps are silent."""
    if not isinstance(value, list):
        return 0
    level, depth = [value], 0
    while level and depth < 4:
        depth += 1
        level = [item for one in level for item in one if isinstance(item, list)]
    return depth


def _described(value: Any) -> str:
    if isinstance(value, list):
        return f"lists nested {_depth(value)} deep"
    return {dict: "an object", str: "text", type(None): "nothing"}.get(type(value), "a number")
