"""Named entities, parts of speech: a tag for each token of a sentence.

    seqloom run tagging                      synthetic sentences in which context decides
    seqloom run tagging --data FOLDER        your own; docs/data.md lists the layouts

docs/results.md holds the scores and times to expect.
"""

from tasks.kinds.tagging import Tagging

TASK = Tagging(
    name="tagging",
    summary="names in a sentence, or the part of speech of each word",
)
