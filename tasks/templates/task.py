"""TITLE.

    seqloom run template                     generated data
    seqloom run template --data FOLDER       your own

Say here which score to expect, on which data, and how long that takes.
"""

from tasks.kinds.skeleton import Skeleton

TASK = Skeleton(
    name="template",
    summary="TITLE",
)
