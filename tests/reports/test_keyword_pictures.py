"""Pictures of keyword spotting, and the curve of thresholds."""

from xml.etree import ElementTree

import numpy as np

from models.keyword_metrics import Spoken
from pipelines.audio import Sound
from pipelines.audio_examples import SoundExample
from pipelines.audio_features import AudioPreprocessing
from pipelines.keyword import KeywordPreprocessor
from pipelines.keyword_watch import KeywordDecoding
from reports.keyword import draw_keywords
from reports.keyword_curve import alarm_curve, draw_curve


def test_a_curve_by_hand(tmp_path):
    labels = ("a", "background")
    rows = np.full((600, 2), 0.5)  # a minute
    rows[:, 0] = 0.1
    rows[100:103, 0] = 0.95  # said: 9.6 to 10.1 s
    rows[200:203, 0] = 0.75  # said: 19.8 to 20.2 s
    rows[400:403, 0] = 0.85  # not said
    spoken = [Spoken(9.6, 10.1, "a"), Spoken(19.8, 20.2, "a")]
    settings = KeywordDecoding(smoothing=0.1)
    points = alarm_curve(labels, rows, spoken, settings, 0.5, thresholds=(0.5, 0.8, 0.9, 1.0))
    found = [(one.misses, round(one.alarms, 6)) for one in points]
    assert found == [(0.0, 60.0), (0.5, 60.0), (0.5, 0.0), (1.0, 0.0)]
    draw_curve({"one": points, "another": points[:1]}, tmp_path / "new" / "curve.png")
    assert (tmp_path / "new" / "curve.png").stat().st_size > 5000


def test_pictures_of_right_and_wrong_answers(tmp_path):
    draw = np.random.default_rng(0)
    examples = [
        SoundExample("ab"[i % 2], memory=Sound(draw.normal(size=n).astype(np.float32), 8000))
        for i, n in enumerate((0, 1, 4000, 900, 8000))
    ]
    preprocessor = KeywordPreprocessor.adapt(AudioPreprocessing(bands=8), examples)
    for guesses in ("ababa", "aaaaa"):
        names = draw_keywords(preprocessor, examples, list(guesses), tmp_path)
        assert names == ["spectrograms.svg"]
        text = (tmp_path / "spectrograms.svg").read_text(encoding="utf-8")
        ElementTree.fromstring(text)
        # The first sound has no sample, and so no pixels.
        assert text.count("<image") == (4 if guesses == "ababa" else 2)
