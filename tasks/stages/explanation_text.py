"""An explanation as a person sees it on a terminal, or as plain lines in a file."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np

from tasks.stages.console import show

if TYPE_CHECKING:
    from reports.explanation import Explanation

# Background colours against and for, from pale to strong.
_AGAINST = ("#fbe3d6", "#f6b899", "#ec8a5a", "#c2410c")
_FOR = ("#dbe8f6", "#a9c8ea", "#6fa3da", "#1f5fa8")


def shown_explanation(found: Explanation) -> None:
    """Prints the answer, the coloured text, what counted most, and how good the numbers are."""
    print(found.answer)
    parts = ", ".join(f"{name} {value:+.3g}" for name, value in found.parts.items())
    by = f" by path: {parts}" if len(found.parts) > 1 else ""
    print(f"{found.target}: {found.score:.4g}, at the baseline {found.baseline_score:.4g}{by}")
    if found.view == "text":
        _coloured(found)
    show([{**row, "attribution": f"{row['attribution']:+.4g}"} for row in found.strongest(10)])
    print(found.check())
    for layer in found.layers:
        shares = ", ".join(
            f"{gate} {low:.0%} low {high:.0%} high"
            for gate, (low, high) in ((n, x.mean(0)) for n, x in layer.saturation.items())
        )
        print(f"saturated units of {layer.name}: {shares}" if shares else layer.name)
    for note in found.notes:
        print(note)


def _coloured(found: Explanation) -> None:
    """The text, its tokens on coloured ground; in a file those that count most in brackets."""
    from rich.console import Console
    from rich.text import Text

    each = found.by_step
    most = float(np.abs(each).max(initial=0)) or 1.0
    text = Text()
    for i, (step, value) in enumerate(zip(found.steps, each, strict=True)):
        level = min(4, int(5 * abs(value) / most))
        style = f"black on {(_FOR if value > 0 else _AGAINST)[level - 1]}" if level else ""
        if level and not sys.stdout.isatty():
            step = f"[{'+' if value > 0 else '-'}{level} {step}]"
        text.append((found.joint if i else ""), "")
        text.append(step.replace("\n", "\\n"), style)
    if sys.stdout.isatty():
        Console().print(text)
    else:
        print(text.plain)
