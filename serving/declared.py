"""What Seqloom writes next to a SavedModel about its signatures, and TensorFlow has no place for.

A signature does not say whether rows are independent of each other, nor which outputs are padded.
A server may join requests only where it knows; so the export says it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.files import write_json
from pipelines.program import Program
from pipelines.ragged import Field, Fields, plain

PROGRAMS_FILE = "assets.extra/seqloom_programs.json"


def write_programs(path: Path, programs: Mapping[str, Program]) -> None:
    """Writes which signatures a SavedModel has, and which of their outputs have lengths."""
    found = {
        name: {
            "fields": {
                key: {"padding": plain(field.padding), "length": field.lengths}
                for key, field in program.fields.items() if key in program.signature["outputs"]
            }
        }
        for name, program in programs.items()
    }  # fmt: skip
    write_json(path / PROGRAMS_FILE, found)


def read_programs(path: Path) -> dict[str, Fields]:
    """Fields of the outputs by signature; nothing for a SavedModel that Seqloom did not write."""
    try:
        found: dict[str, Any] = json.loads((path / PROGRAMS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {
        name: {
            key: Field(_padding(field["padding"]), tuple(field["length"]) or None)
            for key, field in one["fields"].items()
        }
        for name, one in found.items()
    }


def _padding(value: Any) -> Any:
    return value.encode("utf-8") if isinstance(value, str) else value
