"""Inputs of any form to answers: lists to lists, tables to tables."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import DataError
from pipelines.frames import stored
from pipelines.program import DEFAULT
from pipelines.records import is_frame
from tasks.stages.console import tell

if TYPE_CHECKING:
    import pandas as pd

    from serving.client import Client
    from tasks.stages.predicting import Answerer


def answers_of(
    answerer: Answerer,
    inputs: Any,
    program: str | None,
    flags: Mapping[str, Any],
    client: Client | None = None,
) -> list[dict[str, Any]] | pd.DataFrame:
    """See ``TrainedRun.predict``."""
    name = program or DEFAULT
    if is_frame(inputs):
        with tempfile.TemporaryDirectory() as place:
            source = Path(stored(inputs, Path(place) / "data"))
            found = _table(answerer, source / "data.jsonl", name, flags, client)
        return found.set_axis(inputs.index) if len(found) == len(inputs) else found
    if isinstance(inputs, os.PathLike):
        return _table(answerer, Path(inputs), name, flags, client)
    if isinstance(inputs, (str, bytes)):
        inputs = [inputs]
    if not isinstance(inputs, Sequence) and not hasattr(inputs, "__len__"):
        raise DataError(f"inputs are a list, a DataFrame or a Path, not {type(inputs).__name__}")
    return answerer.predict(list(inputs), flags=flags, client=client, name=name).answers


def _table(
    answerer: Answerer, file: Path, name: str, flags: Mapping[str, Any], client: Client | None
) -> pd.DataFrame:
    """Answers to a file of inputs, beside its columns."""
    import pandas as pd

    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "answers.jsonl"
        found = answerer.predict([], file, flags, out, client, name)
        for note in found.notes:
            tell(f"note: {note}")
        with out.open(encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
    return pd.DataFrame(rows)
