"""The command that says why: explain."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from common.errors import DataError
from common.files import check_file
from tasks.commands import options as o
from tasks.commands.app import WithInputs, app, inputs_after_dashes, unmarked
from tasks.stages.console import print_json, tell


@app.command(
    epilog='Example: seqloom explain runs/sentiment-1 "a warm and funny film" --out page.html',
    cls=WithInputs,
)
def explain(
    ctx: typer.Context,
    run: o.RunPath,
    inputs: Annotated[list[str] | None, typer.Argument(metavar="[INPUT]...")] = None,
    file: Annotated[
        Path | None, typer.Option(help="more inputs, as for `seqloom predict --file`")
    ] = None,
    target: Annotated[
        str, typer.Option(help="what is explained: a label, or a number from 1 on; see docs")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, help="inputs that are explained at most")] = 20,
    out: Annotated[Path | None, typer.Option(help="file to write: .html, .png or .csv")] = None,
    as_json: o.AsJson = False,
) -> None:
    """Say which parts of an input moved the answer, and what the recurrent layers did.

    Integrated gradients of one number of the answer, which always sum to its difference from that
    of an empty input; the sum is checked.
    """
    from tasks.stages.explaining import EXTENSIONS, Explainer, write_explanations
    from tasks.stages.explanation_text import shown_explanation

    if out is not None:
        if out.suffix not in EXTENSIONS:
            raise DataError(f"--out {out}: the name of the file ends in {', '.join(EXTENSIONS)}")
        check_file(out)
    explainer = Explainer(run)
    given = [*unmarked(inputs or []), *inputs_after_dashes(ctx)]
    raw, notes = explainer.answerer.raw_inputs(given, file, explainer.answerer.reading({}))
    for note in notes:
        tell(f"note: {note}")
    if len(raw) > limit:
        tell(f"note: the first {limit} of {len(raw)} inputs are explained; more with --limit")
    if out is not None and out.suffix == ".png" and min(len(raw), limit) != 1:
        raise DataError(f"--out {out} is one picture; give one input, or use .html")
    found = [explainer.explain(one, target) for one in raw[:limit]]
    if out is not None:
        write_explanations(found, out, explainer.path)
    if as_json:
        files = {"files": [str(out)]} if out else {}
        result = {"run": str(run), "explanations": [one.to_dict() for one in found], **files}
        print_json(result)
        return
    for one in found:
        shown_explanation(one)
    if out is not None:
        print(f"wrote {out}")
