"""What a command asks for, and the slots that it fills.

    seqloom run intent                       synthetic commands to an assistant
    seqloom run intent --data FOLDER         your own; docs/data.md lists the layouts

docs/results.md holds the scores and times to expect.
"""

from tasks.kinds.intent import Intent

TASK = Intent(
    name="intent",
    summary="what a command asks for, and its slots (a table for two)",
)
