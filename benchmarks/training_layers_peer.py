"""PyTorch's side of training_layers.py: the same model and the same ragged rows.

    python training_layers_peer.py CELL UNITS BATCH LENGTH

Reads lines "padded" or "packed", takes a step of Adam that way and answers with the seconds that it
took. Needs torch and numpy alone.
"""

import sys
import time

import numpy as np
import torch

WORDS, WIDTH, CLASSES = 1000, 64, 2
CELLS = {"simple_rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}


class Classifier(torch.nn.Module):
    """Embedding, two bidirectional layers and a linear one on the last states."""

    def __init__(self, cell: str, units: int) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(WORDS, WIDTH, padding_idx=0)
        self.recurrent = CELLS[cell](WIDTH, units, 2, batch_first=True, bidirectional=True)
        self.output = torch.nn.Linear(2 * units, CLASSES)

    def forward(self, ids, lengths, packed):
        """Ids ``[batch, length]`` to logits; padding is read like any word unless packed."""
        x = self.embedding(ids)
        if packed:
            x = torch.nn.utils.rnn.pack_padded_sequence(
                x, lengths, batch_first=True, enforce_sorted=False
            )
        _, states = self.recurrent(x)
        states = states[0] if isinstance(states, tuple) else states
        return self.output(torch.cat([states[-2], states[-1]], -1))


def main(cell: str, units: int, batch: int, length: int) -> None:
    """Answers lines until there are none."""
    # Without, gradients that fade across time end in numbers that processors are slow at.
    torch.set_flush_denormal(True)
    draw = np.random.default_rng(0)
    ids = draw.integers(1, WORDS, (batch, length))
    lengths = draw.integers(length // 2, length + 1, batch)
    lengths[0] = length
    ids[np.arange(length) >= lengths[:, None]] = 0
    labels = torch.tensor(draw.integers(0, CLASSES, batch))
    ids, lengths = torch.tensor(ids), torch.tensor(lengths)
    model = Classifier(cell, units)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for line in sys.stdin:
        began = time.perf_counter()
        optimizer.zero_grad()
        logits = model(ids, lengths, line.strip() == "packed")
        torch.nn.functional.cross_entropy(logits, labels).backward()
        optimizer.step()
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
