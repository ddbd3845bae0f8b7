"""Which of some words, tones or noises a recording holds.

    seqloom run keyword                           touch-tone digits in noise, generated
    seqloom train keyword --data FOLDER           a folder of sounds for each class
    seqloom train keyword --data FOLDER --name-pattern "{label}_{speaker}_{take}"

docs/sound.md says how sounds are found and holds the scores to expect.
"""

from tasks.kinds.keyword import Keyword

TASK = Keyword(name="keyword", summary="which word, tone or noise a recording holds")
