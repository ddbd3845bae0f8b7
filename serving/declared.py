"""A file next to a SavedModel with what a SignatureDef has no place for.

A signature says neither whether its rows are independent of each other, nor where a row ends that
was padded. A server may join requests only where it knows both; so the export writes it down, and
which label each probability is of.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.files import write_json
from pipelines.program import DEFAULT, Program
from pipelines.ragged import Field, Fields, plain
from serving.bundle import read_manifest
from serving.errors import ServingError

PROGRAMS_FILE = "assets.extra/seqloom_programs.json"


@dataclass(frozen=True)
class DeclaredProgram:
    """A signature whose rows are independent of each other.

    Attributes:
        fields: how the rows of inputs and outputs differ in length, by name.
        shared: inputs that have one value for all rows of a batch.
        labels: what the numbers along the last axis of an output belong to, by its name.
    """

    fields: Fields
    shared: tuple[str, ...] = ()
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)


def write_programs(path: Path, programs: Mapping[str, Program]) -> None:
    """Writes the file into the directory of a SavedModel.

    Args:
        path: the SavedModel's directory.
        programs: one for each signature, by its name.

    Raises:
        ServingError: an output has rows of different lengths, and no output says which.
    """
    found = {}
    for name, program in programs.items():
        inputs, outputs = program.signature["inputs"], program.signature["outputs"]
        fields = {k: f for k, f in program.fields.items() if k in inputs or k in outputs}
        for key, mine in fields.items():
            missing = sorted(set(mine.lengths) - set(outputs))
            if key in outputs and missing:
                raise ServingError(
                    f"{name}: output {key!r} has its lengths in {missing[0]!r}, which is no output"
                )
        found[name] = {
            "fields": {
                key: {"padding": plain(mine.padding), "length": mine.lengths}
                for key, mine in fields.items()
            },
            "shared": program.shared,
            "labels": {key: list(names) for key, names in program.labels_of.items()},
        }
    write_json(path / PROGRAMS_FILE, found)


def read_programs(path: Path) -> dict[str, DeclaredProgram]:
    """Contents of the file by signature; empty for a SavedModel that Seqloom did not write.

    Bundles of earlier versions have no such file, but a manifest with the checksums of all others.

    Raises:
        ServingError: the file is there, but it is not one that Seqloom writes.
    """
    file = path / PROGRAMS_FILE
    if not file.is_file():
        return dict.fromkeys(_of_old_bundle(path), DeclaredProgram({}))
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return {name: _declared(one) for name, one in found.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ServingError(
            f"{file} cannot be read ({error!r}); export the model again, or delete the file"
        ) from error


def _of_old_bundle(path: Path) -> list[str]:
    """Signatures of the SavedModel, if it is the one that the manifest of its bundle names."""
    bundle, graph = path.resolve().parents[1], path / "saved_model.pb"
    if not (bundle / "manifest.json").is_file() or not graph.is_file():
        return []
    try:
        manifest = read_manifest(bundle)
        noted = manifest["artifacts"]["savedmodel"]["sha256"][graph.name]
        known = noted == hashlib.sha256(graph.read_bytes()).hexdigest()
        return list(manifest.get("signatures", [DEFAULT])) if known else []
    except (ServingError, OSError, KeyError, TypeError):
        return []


def _declared(one: Mapping[str, Any]) -> DeclaredProgram:
    fields = {
        key: Field(_padding(mine["padding"]), tuple(mine["length"]) or None)
        for key, mine in one["fields"].items()
    }
    labels = {key: tuple(names) for key, names in one.get("labels", {}).items()}
    return DeclaredProgram(fields, tuple(one.get("shared", ())), labels)


def _padding(value: Any) -> Any:
    return value.encode("utf-8") if isinstance(value, str) else value
