"""Translations as pictures: where each word looked, and how right they are by length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.subwords import SPACE
from reports.drawing import Drawing
from reports.plots import bars, matrix, stacked

MOST_TOKENS, SHOWN = 40, 4


def draw_translations(
    responses: Mapping[str, Any], references: Sequence[str], directory: Path
) -> list[str]:
    """Writes ``attention.svg`` of the first few short translations, and ``by_length.svg``.

    Args:
        responses: of ``serving_default``: ``text``, ``source_tokens``, ``target_tokens`` and
            ``attention`` of each example.
        references: what the translations should be.
        directory: made if need be.
    """
    directory.mkdir(parents=True, exist_ok=True)
    drawings = {"by_length.svg": by_length(responses, references)}
    shown = [
        i for i, weights in enumerate(responses["attention"])
        if np.size(weights) and max(np.shape(weights)) <= MOST_TOKENS
    ][:SHOWN]  # fmt: skip
    if shown:
        parts = ("source_tokens", "target_tokens", "attention")
        rows = [tuple(responses[part][i] for part in parts) for i in shown]
        drawings["attention.svg"] = attention_maps(rows)
    for name, drawing in drawings.items():
        drawing.save_svg(directory / name)
    return sorted(drawings)


def attention_maps(rows: Sequence[tuple[Any, Any, Any]]) -> Drawing:
    """Heat maps, one below the other.

    Args:
        rows: of each the source's tokens, the target's tokens and the attention ``<float32>[target,
            source]``: how much each written token looked at each one read.
    """
    drawn = [
        matrix(
            "attention",
            [_shown(one) for one in target],
            [_shown(one) for one in source],
            np.asarray(weights, float).reshape(len(target), len(source)),
            names=("written", "read; darker where a written token looked"),
            cell=18,
        )
        for source, target, weights in rows
    ]
    return stacked("attention", drawn)


def _shown(token: bytes | str) -> str:
    text = token.decode("utf-8", "replace") if isinstance(token, bytes) else token
    text = text.replace(SPACE, "_").replace(" ", "_")  # a space is seen as a low line
    return text if text.isprintable() else "?"


def by_length(responses: Mapping[str, Any], references: Sequence[str]) -> Drawing:
    """chrF of the translations by the length of what was read, in five groups of equal size."""
    import sacrebleu

    lengths = np.array([len(tokens) for tokens in responses["source_tokens"]])
    order = np.argsort(lengths, kind="stable")
    groups: dict[str, list[int]] = {}
    for group in (group for group in np.array_split(order, 5) if len(group)):
        name = f"{lengths[group].min()} to {lengths[group].max()}"
        groups.setdefault(name, []).extend(group.tolist())
    scores = {}
    for name, group in groups.items():
        texts = [responses["text"][i].decode("utf-8", "replace") for i in group]
        wanted = [references[i] for i in group]
        scores[name] = sacrebleu.corpus_chrf(texts, [wanted]).score
    words = {name: f"{score:.1f}" for name, score in scores.items()}
    return bars("chrF by length", scores, top=100.0, words=words, axis="chrF by tokens read")
