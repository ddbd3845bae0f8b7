"""Long recordings in pieces."""

import numpy as np
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from pipelines.audio import Sound
from pipelines.audio_pieces import cut, pieces_of, quietest

RATE = 1000


def test_the_quietest_moment_of_the_second_half():
    samples = np.ones(1000, np.float32)
    samples[100:300] = 0  # in the first half
    samples[700:800] = 0.1
    assert quietest(samples, RATE) == 750


@given(st.lists(st.integers(0, 4000), max_size=6), st.floats(0.1, 3))
def test_pieces_are_short_and_join_to_the_whole(sizes, longest):
    draw = np.random.default_rng(len(sizes))
    blocks = [Sound(draw.normal(size=n).astype(np.float32), RATE, "x.wav") for n in sizes]
    found = list(cut(iter(blocks), longest))
    whole = np.concatenate([block.samples for block in blocks] or [np.zeros(0)])
    assert np.array_equal(np.concatenate([sound.samples for _, sound in found]), whole)
    assert all(len(sound.samples) <= max(2, round(longest * RATE)) for _, sound in found)
    starts = np.cumsum([0] + [len(sound.samples) for _, sound in found])[:-1]
    assert [round(start * RATE) for start, _ in found] == starts.tolist()


def test_a_file_is_read_in_pieces_with_their_places(tmp_path):
    path = tmp_path / "long.wav"
    soundfile.write(path, np.tile(np.sin(np.arange(RATE)), 150), RATE)
    found = list(pieces_of(path, 40))
    assert len(found) >= 4
    assert found[0][1].name == f"{path} 0:00:00"
    assert sum(sound.seconds for _, sound in found) == 150
