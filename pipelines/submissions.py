"""Competitions: their test part has no answers, and is for predictions, not for tests."""

from __future__ import annotations

from dataclasses import replace

from common.errors import DataError
from pipelines.layout import Layout, PartFile
from pipelines.messages import name_list
from pipelines.readers import read_rows, told_format
from pipelines.text_examples import LABEL_NAMES, TEXT_NAMES
from pipelines.textfile import inspect_file


def without_unanswered_test(layout: Layout) -> Layout:
    """Leaves the test part out where a sample submission lies beside it and it lacks columns.

    Returns:
        The layout without its test part, with a note; or the layout as it is.
    """
    if not layout.submission or "test" not in layout.parts:
        return layout
    here = _columns(layout.parts["test"][0])
    missing = [name for name in _columns(layout.parts["train"][0]) if name not in here]
    if not here or not missing:
        return layout
    path = layout.parts["test"][0].path
    note = (
        f"{path.name} has no column {name_list(missing)}, and {layout.submission} lies beside it: "
        f"it was left out; seqloom predict MODEL --file {path} answers it."
    )
    parts = {part: files for part, files in layout.parts.items() if part != "test"}
    return replace(layout, parts=parts, notes=[*layout.notes, note])


def _columns(file: PartFile) -> list[str]:
    try:
        source = inspect_file(file.path)
        form = told_format(source, frozenset((*TEXT_NAMES, *LABEL_NAMES)))
        row = next(read_rows(source, form=form, with_problems=True), None)
    except DataError:  # told where the file is read for good
        return []
    return [] if row is None else list(row.values)
