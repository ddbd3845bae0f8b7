"""Pictures of translations."""

from xml.etree import ElementTree

import numpy as np

from reports.translation import draw_translations


def responses(lengths):
    draw = np.random.default_rng(0)
    return {
        "text": np.array([b"one $two$ three", b"", b"\xe7\x8a\xac"] * len(lengths), object)[
            : len(lengths)
        ],
        "source_tokens": [
            np.array([b"[START]", *[b"\xe2\x96\x81a$"] * n, b"[END]"], object) for n in lengths
        ],
        "target_tokens": [np.array([b"$", b"\n", b"\xe7\x8a\xac"], object) for _ in lengths],
        "attention": [draw.dirichlet(np.ones(n + 2), 3).astype(np.float32) for n in lengths],
    }


def test_attention_and_scores_by_length(tmp_path):
    found = draw_translations(responses([3, 5, 0, 60, 4, 7, 9]), ["a b"] * 7, tmp_path)
    assert found == ["attention.svg", "by_length.svg"]
    assert all(ElementTree.parse(tmp_path / name) for name in found)


def test_without_attention_there_is_no_map(tmp_path):
    given = responses([3, 5])
    given["attention"] = [np.zeros((0, 0), np.float32)] * 2
    assert draw_translations(given, ["a", "b"], tmp_path) == ["by_length.svg"]
