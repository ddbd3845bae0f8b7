"""Two problems that ask for memory alone: adding, and copying after a pause.

How long a network has to remember is their only difficulty, so that they show where a cell's memory
ends. Both are standard: adding from Hochreiter and Schmidhuber (1997), here as Le, Jaitly and
Hinton (2015) simplified it; copying as Arjovsky, Shah and Bengio (2016) set it.
"""

from __future__ import annotations

import numpy as np

from common.errors import DataError


def adding_problem(
    size: int, length: int, draw: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Two marked numbers of a sequence are to be added.

    One mark is somewhere in the first half, the other in the second. Whoever answers 1 always has a
    mean squared error of 1/6: the variance of a sum of two uniform numbers.

    Args:
        size: sequences.
        length: steps of each, 2 or more.
        draw: decides the numbers and the marks.

    Returns:
        ``<float32>[size, length, 2]``: a number from 0 to 1, and 1 where it counts, else 0;
        ``<float32>[size, 1]``: the sum.

    Raises:
        DataError: the length is less than 2.
    """
    if length < 2:
        raise DataError(f"the adding problem has two marks: its length is 2 or more, not {length}")
    x = np.zeros((size, length, 2), np.float32)
    x[:, :, 0] = draw.random((size, length))
    rows, half = np.arange(size), length // 2
    for place in (draw.integers(0, half, size), draw.integers(half, length, size)):
        x[rows, place, 1] = 1
    return x, (x[:, :, 0] * x[:, :, 1]).sum(1, keepdims=True)


def copy_task(
    size: int, pause: int, draw: np.random.Generator, count: int = 10, symbols: int = 8
) -> tuple[np.ndarray, np.ndarray]:
    """Symbols are to be written again after a pause.

    A sequence is ``count`` symbols, ``pause`` blanks, the last of which is a signal to begin, and
    ``count`` blanks while the symbols are to be written. Whoever remembers nothing has a log loss
    of ``log(symbols)`` for each of them: 2.08 nats for 8.

    Args:
        size: sequences.
        pause: steps from the last symbol to the signal, 1 or more.
        draw: decides the symbols.
        count: symbols of a sequence, drawn independently.
        symbols: how many different ones there are.

    Returns:
        ``<float32>[size, pause + 2 * count, symbols + 2]``: one-hot; the last two are blank and
        signal; ``<int32>[size, count]``: what the last ``count`` steps are to answer.

    Raises:
        DataError: the pause is less than 1.
    """
    if pause < 1:
        raise DataError(f"the pause of the copy task is 1 step or more, not {pause}")
    answers = draw.integers(0, symbols, (size, count), dtype=np.int32)
    blank, signal = symbols, symbols + 1
    ids = np.full((size, pause + 2 * count), blank)
    ids[:, :count] = answers
    ids[:, count + pause - 1] = signal
    return np.eye(symbols + 2, dtype=np.float32)[ids], answers
