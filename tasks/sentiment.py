"""Sentiment of a review.

    seqloom run sentiment                    synthetic reviews in which word order decides
    seqloom run sentiment --data FOLDER      your own; docs/data.md lists the layouts

docs/results.md holds the scores and times to expect.
"""

from tasks.kinds.text_classification import TextClassification

TASK = TextClassification(
    name="sentiment",
    summary="is a review positive or negative",
)
