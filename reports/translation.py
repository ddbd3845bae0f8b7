"""Translations as pictures: where each word looked, and how right they are by length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from pipelines.subwords import SPACE

BLUE, GREY = "#2c6fad", "#8a8f98"
MOST_TOKENS, SHOWN = 40, 4


def draw_translations(
    responses: Mapping[str, Any], references: Sequence[str], directory: Path
) -> list[str]:
    """Writes ``attention.png`` of the first few short translations, and ``by_length.png``.

    Args:
        responses: of ``serving_default``: ``text``, ``source_tokens``, ``target_tokens`` and
            ``attention`` of each example.
        references: what the translations should be.
        directory: made if need be.
    """
    directory.mkdir(parents=True, exist_ok=True)
    figures = {"by_length.png": by_length(responses, references)}
    shown = [
        i for i, weights in enumerate(responses["attention"])
        if np.size(weights) and max(np.shape(weights)) <= MOST_TOKENS
    ][:SHOWN]  # fmt: skip
    if shown:
        parts = ("source_tokens", "target_tokens", "attention")
        rows = [tuple(responses[part][i] for part in parts) for i in shown]
        figures["attention.png"] = attention_maps(rows)
    for name, figure in figures.items():
        figure.savefig(directory / name, dpi=110)
    return sorted(figures)


def attention_maps(rows: Sequence[tuple[Any, Any, Any]]) -> Figure:
    """Heat maps, one below the other.

    Args:
        rows: of each the source's tokens, the target's tokens and the attention ``<float32>[target,
            source]``: how much each written token looked at each one read.
    """
    sizes = [1.3 + 0.2 * len(target) for _, target, _ in rows]
    width = 2.0 + 0.24 * max(len(source) for source, _, _ in rows)
    figure = Figure((width, sum(sizes)), layout="constrained")
    axes = np.atleast_1d(figure.subplots(len(rows), 1, height_ratios=sizes))
    for ax, (source, target, weights) in zip(axes, rows, strict=True):
        ax.imshow(np.asarray(weights), cmap="Blues", vmin=0, vmax=1, aspect="auto")
        ax.set_xticks(range(len(source)), [_shown(one) for one in source], rotation=60, fontsize=7)
        ax.set_yticks(range(len(target)), [_shown(one) for one in target], fontsize=7)
        ax.set(xlabel="read", ylabel="written")
    axes[0].set_title("share of each written token's attention", fontsize=9, loc="left")
    return figure


def _shown(token: bytes | str) -> str:
    text = token.decode("utf-8", "replace") if isinstance(token, bytes) else token
    # A space is seen as a low line; two dollars would be set as a formula by Matplotlib.
    text = text.replace(SPACE, "_").replace(" ", "_").replace("$", r"\$")
    return text if text.isprintable() else "?"


def by_length(responses: Mapping[str, Any], references: Sequence[str]) -> Figure:
    """chrF of the translations by the length of what was read, in five groups of equal size."""
    import sacrebleu

    lengths = np.array([len(tokens) for tokens in responses["source_tokens"]])
    order = np.argsort(lengths, kind="stable")
    groups = [group for group in np.array_split(order, 5) if len(group)]
    scores, names = [], []
    for group in groups:
        texts = [responses["text"][i].decode("utf-8", "replace") for i in group]
        scores.append(sacrebleu.corpus_chrf(texts, [[references[i] for i in group]]).score)
        names.append(f"{lengths[group].min()} to {lengths[group].max()}")
    figure = Figure((4.6, 2.8), layout="constrained")
    ax = figure.subplots()
    ax.bar(range(len(groups)), scores, color=BLUE)
    ax.set_xticks(range(len(groups)), names, fontsize=8)
    ax.set(xlabel="tokens read", ylabel="chrF")
    ax.spines[["top", "right"]].set_visible(False)
    return figure
