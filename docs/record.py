"""Records a command as a moving picture: an SVG whose lines come one after the other.

    python docs/record.py docs/run.svg seqloom run sentiment --quick

Pauses are shortened; how long the command really took stands in its last line.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from html import escape
from pathlib import Path

COLUMNS, LINE, SIZE = 110, 18, 13  # characters, and pixels
LONGEST_PAUSE, TYPING, HOLD = 1.2, 1.5, 6.0  # seconds

_STYLE = """
svg { background: #f6f8fa; border-radius: 8px }
text { font: %dpx ui-monospace, Menlo, Consolas, monospace; fill: #24292f; white-space: pre }
.command { fill: #0a6b3d; font-weight: bold }
.dim { fill: #57606a }
@media (prefers-color-scheme: dark) {
  svg { background: #161b22 }
  text { fill: #e6edf3 }
  .command { fill: #56d364 }
  .dim { fill: #8b949e }
}
@media (prefers-reduced-motion: no-preference) { .line { animation: come %gs step-end infinite } }
"""


def recorded(command: list[str]) -> list[tuple[float, str]]:
    """Runs a command; each line of its output and the seconds at which it came."""
    started = time.perf_counter()
    found = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8"
    ) as running:
        for line in running.stdout:
            found.append((time.perf_counter() - started, line.rstrip("\n")))
    if running.returncode:
        sys.exit(f"{command[0]} ended with {running.returncode}: {found[-1][1] if found else ''}")
    found.append((time.perf_counter() - started, f"({time.perf_counter() - started:.0f} s)"))
    return found


def paced(lines: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """The same with shorter pauses, and long lines as several."""
    now, before, result = TYPING, 0.0, []
    for at, line in lines:
        now += min(LONGEST_PAUSE, at - before)
        before = at
        for part in textwrap.wrap(line, COLUMNS, drop_whitespace=False) or [""]:
            result.append((now, part))
    return result


def drawn(command: str, lines: list[tuple[float, str]]) -> str:
    """The picture.

    Args:
        command: as it is typed.
        lines: of its output, each with the second at which it comes.
    """
    whole = lines[-1][0] + HOLD
    width, height = int(COLUMNS * SIZE * 0.62) + 30, (len(lines) + 2) * LINE + 20
    rows = [f'<text class="command" x="15" y="{LINE + 8}">$ {escape(command)}</text>']
    frames = []
    for number, (at, line) in enumerate(lines):
        share = 100 * at / whole
        frames.append(
            f"@keyframes come{number} {{ 0% {{ opacity: 0 }} {share:.2f}% {{ opacity: 1 }} }}"
        )
        kind = "dim" if line.startswith(("...", "(")) else ""
        rows.append(
            f'<text class="line {kind}" style="animation-name: come{number}" x="15" '
            f'y="{(number + 2) * LINE + 8}">{escape(line)}</text>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img"><title>{escape(command)}</title><style>'
        f"{_STYLE % (SIZE, whole)}{''.join(frames)}</style>{''.join(rows)}</svg>\n"
    )


def main(out: str, *command: str) -> None:
    """Records and draws."""
    lines = paced(recorded(list(command)))
    Path(out).write_text(drawn(" ".join(command), lines), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
