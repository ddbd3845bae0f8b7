"""Building blocks of a report: one HTML file that loads nothing, for screen (light, dark), print.

All text from data goes through ``escape``; text that is HTML already has the type ``Html``.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from reports.axes import number
from reports.drawing import Drawing, clean, css

STYLE = """
*{box-sizing:border-box}
body{margin:0;background:var(--background);color:var(--foreground);
 font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,Ubuntu,Cantarell,"Noto Sans",sans-serif}
main{max-width:1200px;margin:0 auto;padding:28px 40px 60px}
h1{font-size:30px;line-height:1.2;margin:2px 0 6px;letter-spacing:-.015em;overflow-wrap:anywhere}
h2{font-size:20px;margin:0 0 6px;letter-spacing:-.01em}
h3{font-size:14px;margin:22px 0 8px}
p{margin:0 0 12px;max-width:80ch}
a{color:var(--accent)}
.eyebrow{color:var(--muted);font-size:12px;font-weight:600;letter-spacing:.08em;
 text-transform:uppercase}
.about{color:var(--muted);overflow-wrap:anywhere}
nav{display:flex;flex-wrap:wrap;gap:4px 18px;margin:18px 0 0;padding:10px 0;font-size:14px;
 border-top:1px solid var(--grid);border-bottom:1px solid var(--grid)}
nav a{text-decoration:none}
nav a:hover{text-decoration:underline}
section{margin-top:44px;scroll-margin-top:12px}
.caption{color:var(--muted)}
.note{border-left:3px solid var(--best);background:var(--panel);padding:10px 14px;margin:18px 0 0;
 border-radius:0 6px 6px 0;max-width:none;overflow-wrap:anywhere}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(190px,1fr));gap:12px;
 margin:22px 0 0}
.fact{background:var(--panel);border-radius:8px;padding:12px 16px;overflow-wrap:anywhere}
.fact dt{color:var(--muted);font-size:13px}
.fact dd{margin:0}
.fact .value{font-size:25px;font-weight:600;line-height:1.3;letter-spacing:-.01em}
.fact:first-child .value{color:var(--best)}
.fact .more{color:var(--muted);font-size:13px}
.settings{display:flex;flex-wrap:wrap;gap:6px;margin:0 0 14px}
.settings div{border:1px solid var(--grid);border-radius:6px;padding:2px 9px;font-size:14px;
 overflow-wrap:anywhere}
.settings dt,.settings dd{display:inline;margin:0}
.settings dt{color:var(--muted);margin-right:6px}
.settings dd{font-weight:600}
.command{margin:0 0 10px}
.command span{color:var(--muted);font-size:13px}
pre,code{font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
pre{background:var(--panel);border-radius:6px;padding:9px 13px;margin:2px 0 0;white-space:pre-wrap;
 overflow-wrap:anywhere;user-select:all}
.wide{overflow-x:auto;max-width:100%}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:8px 36px;
 align-items:start}
.pair>*{min-width:0}
.pair>.full{grid-column:1/-1}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,420px),1fr));gap:12px;
 align-items:start}
.card{border:1px solid var(--grid);border-radius:8px;padding:10px 14px;font-size:14px;min-width:0;
 overflow-wrap:anywhere}
.card .input{white-space:pre-wrap}
.card .labels{color:var(--muted);font-size:13px;margin-top:6px}
.card .labels b{color:var(--foreground)}
.rest{margin-top:12px}
.rest summary{margin-bottom:12px;color:var(--accent)}
.card dl{margin:8px 0 0;display:grid;grid-template-columns:max-content 1fr;gap:2px 10px}
.card dt{color:var(--muted);font-size:12px;line-height:21px}
.card dd{margin:0}
mark{background:var(--shade);color:inherit;border-radius:3px;padding:0 1px;opacity:.95}
.tall{max-height:571px;overflow:auto;border-bottom:1px solid var(--line)}
figure{margin:0 0 22px}
figure img{max-width:100%;background:#fff;border-radius:6px;padding:4px}
figcaption{color:var(--muted);font-size:13px}
.chart{display:block;max-width:100%;height:auto;font-family:inherit}
table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums}
th,td{padding:5px 11px 5px 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--grid);
 white-space:nowrap}
th{color:var(--muted);font-weight:600;background:var(--background);white-space:normal;line-height:1.25;
 vertical-align:bottom}
.tall th{position:sticky;top:0;z-index:1}
th.n,td.n{text-align:right}
td.long{white-space:normal;min-width:24em;overflow-wrap:anywhere}
tr.top td{font-weight:600;color:var(--best)}
.sortable th{cursor:pointer;user-select:none}
.sortable th:hover,.sortable th:focus-visible{color:var(--foreground)}
th[aria-sort=ascending]::after{content:" \\2191"}
th[aria-sort=descending]::after{content:" \\2193"}
details pre{user-select:text;max-height:300px;overflow:auto}
summary{cursor:pointer}
.more[open] summary{color:var(--muted);margin-bottom:8px}
tbody tr:hover td,tr.on td{background:var(--panel)}
.chart [data-t]{cursor:pointer}
.chart .on{opacity:1}
.chart path.on{stroke:var(--foreground);stroke-width:3}
.chart circle.on{fill:var(--foreground);stroke:var(--background);stroke-width:2}
footer{margin-top:48px;color:var(--muted);font-size:13px}
@media (max-width:700px){main{padding:18px 16px 40px}h1{font-size:24px}section{margin-top:32px}
 .facts{grid-template-columns:1fr 1fr;gap:8px}.fact{padding:9px 12px}.fact .value{font-size:21px}}
@media print{body{font-size:11px}main{max-width:none;padding:0}nav{display:none}
 .tall{max-height:none;border:0}.wide,.tall{overflow:visible}.chart{min-width:0}table{font-size:8.5px}
 th,td{white-space:normal;padding-right:6px}.tall th{position:static}
 section{margin-top:24px}figure,.facts,tr,p{break-inside:avoid}h2,.caption{break-after:avoid}
 .fact,pre,.note{border:1px solid var(--grid)}*{print-color-adjust:exact}}
"""

# Highlights one trial in all charts and tables, and sorts tables. The page is complete without it.
SCRIPT = """
const marks = {};
document.querySelectorAll('[data-t]').forEach(m => (marks[m.dataset.t] ||= []).push(m));
let lit = null;
document.addEventListener('mouseover', event => {
  const at = event.target.closest('[data-t]'), trial = at && at.dataset.t;
  if (trial === lit) return;
  for (const [name, on] of [[lit, false], [trial, true]])
    (marks[name] || []).forEach(m => m.classList.toggle('on', on));
  lit = trial;
});
document.querySelectorAll('table.sortable').forEach(table => {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  const value = (row, i) => row.cells[i].dataset.v ?? row.cells[i].textContent;
  const sort = (head, i) => {
    const down = head.getAttribute('aria-sort') === 'ascending';
    heads.forEach(other => other.removeAttribute('aria-sort'));
    head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
    const rows = [...body.rows].sort((p, q) => {
      const a = value(p, i), b = value(q, i);
      if (a === '' || b === '') return (a === '') - (b === '');
      const by = isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b;
      return down ? -by : by;
    });
    body.append(...rows);
  };
  heads.forEach((head, i) => {
    head.tabIndex = 0;
    head.addEventListener('click', () => sort(head, i));
    head.addEventListener('keydown', event => { if (event.key === 'Enter') sort(head, i); });
  });
});
"""


class Html(str):
    """Text that is HTML already, and is not escaped again."""


def escape(value: Any) -> Html:
    """A value as HTML text; numbers are formatted by ``number``.

    >>> escape("<b> & co"), escape(0.123456)
    ('&lt;b&gt; &amp; co', '0.1235')
    """
    if isinstance(value, Html):
        return value
    return Html(html.escape(clean(number(value))))


def page(
    eyebrow: str,
    title: str,
    about: str,
    head: Iterable[str],
    sections: Sequence[tuple[str, Sequence[str]]],
) -> str:
    """The HTML document.

    Args:
        eyebrow: type of the report, above the title.
        title: title.
        about: line below the title.
        head: HTML before the table of contents.
        sections: title and HTML parts of each section; sections without content are left out.
    """
    shown = [(name, parts) for name, parts in sections if any(parts)]
    anchors = [f"s{i}" for i in range(1, len(shown) + 1)]
    links = "".join(
        f'<a href="#{anchor}">{escape(name)}</a>'
        for anchor, (name, _) in zip(anchors, shown, strict=True)
    )
    body = "\n".join(
        f'<section id="{anchor}"><h2>{escape(name)}</h2>\n{"".join(parts)}</section>'
        for anchor, (name, parts) in zip(anchors, shown, strict=True)
    )
    now = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)} · {escape(eyebrow)}</title>\n"
        f"<style>\n{css()}{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f'<header><div class="eyebrow">{escape(eyebrow)}</div><h1>{escape(title)}</h1>\n'
        f'<div class="about">{escape(about)}</div></header>\n{"".join(head)}\n'
        f"<nav>{links}</nav>\n{body}\n"
        f"<footer>Written by seqloom report, {escape(now)}.</footer>\n"
        f"</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def paragraph(text: Any, kind: str = "caption") -> str:
    """A paragraph with the CSS class ``kind``; empty if there is no text."""
    return f'<p class="{kind}">{escape(text)}</p>\n' if text else ""


def facts(found: Sequence[tuple[str, Any, Any]]) -> str:
    """Boxes, each with a name, a value and a remark."""
    boxes = "".join(
        f'<div class="fact"><dt>{escape(name)}</dt><dd class="value">{escape(value)}</dd>'
        f'<dd class="more">{escape(more)}</dd></div>'
        for name, value, more in found
    )
    return f'<dl class="facts">{boxes}</dl>\n'


def settings(values: Mapping[str, Any]) -> str:
    """Names with their values, next to each other."""
    pairs = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in values.items()
    )
    return f'<dl class="settings">{pairs}</dl>\n' if pairs else ""


def commands(lines: Sequence[tuple[str, str]]) -> str:
    """Commands to copy, each with a description of what it does."""
    return "".join(
        f'<div class="command"><span>{escape(what)}</span><pre>{escape(line)}</pre></div>\n'
        for what, line in lines
    )


def svg_figure(drawing: Drawing) -> str:
    """A ``<figure>`` with the drawing as SVG."""
    return f'<figure class="wide">{drawing.svg()}</figure>\n'


def table(
    rows: Sequence[Mapping[str, Any]],
    *,
    sort_by: Mapping[int, Mapping[str, Any]] | None = None,
    trials: Sequence[str] = (),
    top: int | None = None,
    long: str = "",
    sortable: bool = False,
    tall: bool = False,
) -> str:
    """A table. Its columns are the keys of all rows; columns of numbers are right-aligned.

    Args:
        rows: values by column; None and missing keys are empty cells.
        sort_by: by row and column, the value to sort by, if it is not the value that is shown.
        trials: for each row, the trial that it describes.
        top: index of the row to highlight.
        long: name of the column whose text may wrap.
        sortable: whether a click on a column sorts the table by it.
        tall: whether the table has its own scroll bar if it is long.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    right = {name for name in names if all(_is_number(row.get(name)) for row in rows)}
    kinds = {name: " class=n" if name in right else " class=long" if name == long else ""
             for name in names}  # fmt: skip
    head = "".join(f'<th scope="col"{kinds[name]}>{escape(name)}</th>' for name in names)
    body = []
    for i, row in enumerate(rows):
        cells = []
        for name in names:
            value = row.get(name)
            by = (sort_by or {}).get(i, {}).get(name, value if _is_number(value) else None)
            exact = "" if by is None else f' data-v="{escape(repr(by))}"'
            cells.append(f"<td{kinds[name]}{exact}>{escape(value)}</td>")
        about = f' data-t="{escape(str(trials[i]))}"' if trials else ""
        about += ' class="top"' if i == top else ""
        body.append(f"<tr{about}>{''.join(cells)}</tr>")
    kind = ' class="sortable"' if sortable else ""
    return (
        f'<div class="{"tall" if tall else "wide"}"><table{kind}><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{chr(10).join(body)}</tbody></table></div>\n"
    )


def collapsible(text: str, max_length: int = 160) -> Html:
    """A message; if it is long, only its last line, which expands to the whole message."""
    lines = [line for line in text.strip().splitlines() if line.strip()]
    if len(lines) < 2 and len(text) <= max_length:
        return escape(text)
    last = lines[-1].strip() if lines else ""
    short = last if len(last) <= max_length else last[: max_length - 1] + "…"
    return Html(
        f"<details><summary>{escape(short)}</summary><pre>{escape(text)}</pre></details>"
    )  # fmt: skip


def folded(text: str, max_length: int = 280) -> Html:
    """A text; of a long one its beginning, which expands to the whole."""
    if len(text) <= max_length:
        return escape(text)
    short = f"{text[: max_length - 1].rstrip()}…"
    return Html(f'<details class="more"><summary>{escape(short)}</summary>{escape(text)}</details>')


def _is_number(value: Any) -> bool:
    """Whether a cell fits into a right-aligned column: a number, formatted or not, or nothing."""
    return (
        value is None or isinstance(value, NumberText | int | float) and not isinstance(value, bool)
    )


class NumberText(str):
    """Text that shows a number, such as "12 min"."""
