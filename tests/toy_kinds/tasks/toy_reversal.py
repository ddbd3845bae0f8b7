"""Words written backwards."""

from tasks.kinds.toy_reversal import ToyReversal

TASK = ToyReversal(name="toy_reversal", summary="a word, backwards")
