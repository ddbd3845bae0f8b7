"""Texts of any sort under labels of any names: tickets by queue, mails by sender, notes by topic.

    seqloom run classify                     synthetic support tickets of seven queues
    seqloom run classify --data FOLDER       your own; docs/data.md lists the layouts
    seqloom train classify --data tickets.csv --text-column subject,body --label-column queue

docs/results.md holds the scores and times to expect, docs/classification.md what to do about labels
of unequal size.
"""

from pipelines.synthetic_tickets import synthetic_tickets
from tasks.kinds.text_classification import TextClassification

TASK = TextClassification(
    name="classify",
    summary="which of your labels does a text have",
    synthetic=synthetic_tickets,
)
