"""What follows in a text: by default in the source of Python's standard library."""

from tasks.kinds.language import Language

TASK = Language(name="language", summary="language model: how likely a text is, how it goes on")
