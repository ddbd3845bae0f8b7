"""How well the rules that training's tokens teach cut text that they have not seen.

    python benchmarks/tokens.py --data ../shared/data

Of UD English EWT the sentences of validation as they were written; of the others, whose text is not
known, their tokens joined by spaces (characters by nothing), as far as the rules leave them whole.
The scores are of the borders of tokens.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from measuring import report

from pipelines.tagged import TaggedExample
from pipelines.tagged_sources import load_tagged
from pipelines.tokens import TokenRules

SETS = {"ud_english_ewt": None, "atis": " ", "wnut17": " ", "msra_ner": ""}


def main() -> None:
    """Learns, cuts and reports."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    options = parser.parse_args()
    report("tokens", [cut(name, options.data / name, SETS[name]) for name in SETS])


def cut(name: str, source: Path, between: str | None) -> dict:
    """Precision, recall and F1 of the borders of validation's tokens."""
    splits = load_tagged(str(source), intents=name == "atis")
    rules = TokenRules.adapt(one.tokens for one in splits.train)
    right = gold = guessed = 0
    for one in splits.validation:
        text, want = borders(one, between)
        found = {(start, end) for _, start, end in rules.cut(text)}
        right, gold, guessed = right + len(want & found), gold + len(want), guessed + len(found)
    return {
        "data": name, "text": "as written" if between is None else "tokens joined",
        "tokens": gold, "precision": right / guessed, "recall": right / gold,
        "f1": 2 * right / (gold + guessed), "exceptions": len(rules.exceptions),
    }  # fmt: skip


def borders(one: TaggedExample, between: str | None) -> tuple[str, set[tuple[int, int]]]:
    """A text, and where its tokens begin and end."""
    if between is None:
        pairs = zip(one.starts, one.tokens, strict=True)
        return one.text, {(start, start + len(token)) for start, token in pairs}
    places, at = set(), 0
    for token in one.tokens:
        places.add((at, at + len(token)))
        at += len(token) + len(between)
    return between.join(one.tokens), places


if __name__ == "__main__":
    main()
