"""What is said in a recording.

    seqloom run speech                                          Morse code in noise, generated
    seqloom train speech --data clips.csv                       paths and what is said in them
    seqloom train speech --data clips.csv --no-bidirectional    writes while it listens

docs/sound.md says how sounds are found and holds the scores to expect.
"""

from tasks.kinds.speech import Speech

TASK = Speech(name="speech", summary="what is said in a recording, with a time for each character")
