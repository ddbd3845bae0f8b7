"""The manifest that docs/sound.md shows is read as it says."""

import re
from pathlib import Path

import numpy as np
import soundfile

from pipelines.audio_sources import SoundReading, load_sounds

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "sound.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"^```(csv|python)\n(.*?)^```", PAGE, re.S | re.M))


def test_the_manifest(tmp_path):
    sound = np.random.default_rng(0).normal(scale=0.1, size=12 * 8000)
    soundfile.write(tmp_path / "day.wav", sound, 8000)
    for part in ("train", "dev", "test"):
        (tmp_path / f"{part}.csv").write_text(BLOCKS["csv"])
    found = load_sounds(tmp_path, SoundReading(classes=True), lambda size, seed: []).train
    parts = [(one.target, one.start, one.end, len(one.at(8000))) for one in found]
    assert parts == [("bird", 3.5, 4.25, 6000), ("car", 9.0, 10.5, 12_000)]
