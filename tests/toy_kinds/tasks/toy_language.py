"""Sentences of a toy grammar, character by character."""

from tasks.kinds.toy_language import ToyLanguage

TASK = ToyLanguage(name="toy_language", summary="what comes next in a toy sentence")
