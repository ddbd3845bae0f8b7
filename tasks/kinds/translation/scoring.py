"""BLEU and what else is counted about translations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipelines.pairs import TextPair
from pipelines.text import TextEncoder

if TYPE_CHECKING:
    from reports.judged import Judged

_IDEOGRAPHS = ("\u3400", "\u9fff")
_MANY = 0.3  # of the characters


def bleu_tokens(vocabulary: Any, references: Sequence[str]) -> str:
    """The name of sacrebleu's tokenizer: characters where the model writes those, "zh" for Chinese
    text, else its usual one."""
    if isinstance(vocabulary, TextEncoder) and vocabulary.level == "char":
        return "char"
    text = "".join(references[:200])
    low, high = _IDEOGRAPHS
    return "zh" if sum(low <= one <= high for one in text) > _MANY * len(text) else "13a"


def translation_metrics(
    texts: Sequence[str], examples: Sequence[TextPair], tokens: str = "13a"
) -> dict[str, float]:
    """``bleu`` and ``chrf``, 0 to 100, of plain text with its case (Post 2018, "A call for clarity
    in reporting BLEU scores"), and ``exact``, the share of texts that are right to the letter.

    Args:
        texts: what was answered, one for each example.
        examples: with the references.
        tokens: name of sacrebleu's tokenizer.
    """
    import sacrebleu

    references = [pair.target for pair in examples]
    found = [" ".join(text.split()) for text in texts]
    wanted = [" ".join(text.split()) for text in references]
    return {
        "bleu": sacrebleu.corpus_bleu(found, [wanted], tokenize=tokens, force=True).score,
        "chrf": sacrebleu.corpus_chrf(found, [wanted]).score,
        "exact": sum(mine == right for mine, right in zip(found, wanted, strict=True)) / len(found),
    }


def judged_translations(
    examples: Sequence[TextPair],
    texts: Sequence[str],
    lengths: Sequence[int],
    tokens: str,
    others: Sequence[str] | None = None,
) -> Judged:
    """Each text with its translation beside the right one; the worst by chrF.

    Args:
        examples: of test.
        texts: of the model.
        lengths: tokens of each source.
        tokens: name of sacrebleu's tokenizer.
        others: texts of the baseline, if known.
    """
    import sacrebleu

    from reports.judged import Judged, JudgedExample

    def sums(text: str, target: str) -> dict[str, Sequence[float]]:
        text, target = " ".join(text.split()), " ".join(target.split())
        found = sacrebleu.corpus_bleu([text], [[target]], tokenize=tokens, force=True)
        counts = (*found.counts, *found.totals, found.sys_len, found.ref_len)
        return {"bleu": counts, "exact": (text == target, 1)}

    rows = [
        JudgedExample(
            pair.source, pair.target, text, sums(text, pair.target),
            loss=100 - sacrebleu.sentence_chrf(text, [pair.target]).score,
            length=length,
            baseline={} if others is None else sums(others[i], pair.target),
        )
        for i, (pair, text, length) in enumerate(zip(examples, texts, lengths, strict=True))
    ]  # fmt: skip
    return Judged(rows, "tokens", forms={"bleu": "bleu"}, text=True)


def bleu_signature(tokens: str) -> str:
    """How sacrebleu names the way in which BLEU was counted."""
    import sacrebleu

    metric = sacrebleu.BLEU(tokenize=tokens)
    metric.corpus_score(["a"], [["a"]])
    return str(metric.get_signature())
