"""PyTorch's side of generate.py: a character LSTM in a loop, drawn by torch.multinomial.

    python generate_peer.py LAYERS UNITS VOCABULARY THREADS

Reads lines "STREAMS TOKENS" and answers each with the seconds that it took. Needs torch alone.
"""

import sys
import time

import torch


class Characters(torch.nn.Module):
    """Embedding, LSTM and output, as ``models.language`` has them."""

    def __init__(self, layers: int, units: int, size: int) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(size, units)
        self.recurrent = torch.nn.LSTM(units, units, layers, batch_first=True)
        self.output = torch.nn.Linear(units, size)

    def forward(self, ids, states):
        """Ids ``[rows]`` to probabilities ``[rows, size]`` of what follows, and the states."""
        x, states = self.recurrent(self.embedding(ids)[:, None], states)
        return torch.softmax(self.output(x[:, 0]), -1), states


@torch.inference_mode()
def main(layers: int, units: int, size: int, threads: int) -> None:
    """Answers lines until there are none; 0 threads are PyTorch's own choice."""
    if threads:
        torch.set_num_threads(threads)
    model = Characters(layers, units, size).eval()
    for line in sys.stdin:
        streams, tokens = map(int, line.split())
        ids = torch.full((streams,), 5)
        states = (torch.zeros(layers, streams, units), torch.zeros(layers, streams, units))
        began = time.perf_counter()
        for _ in range(tokens):
            probabilities, states = model(ids, states)
            ids = torch.multinomial(probabilities, 1)[:, 0]
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
