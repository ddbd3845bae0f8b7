"""The network of ``speech_live.py`` in PyTorch, a step at a time: microseconds of one."""

from __future__ import annotations

import json
import statistics
import sys
import time

import torch


def main() -> None:
    """Prints the median of many steps on one thread."""
    sizes = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    cell = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "simple_rnn": torch.nn.RNN}[sizes["cell"]]
    front = torch.nn.Sequential(
        torch.nn.Linear(sizes["width"], sizes["front"]), torch.nn.ReLU(),
        torch.nn.LayerNorm(sizes["front"]),
    )  # fmt: skip
    recurrent = cell(sizes["front"], sizes["units"], sizes["layers"], batch_first=True)
    symbols = torch.nn.Linear(sizes["units"], sizes["symbols"])
    frames, states, times = torch.zeros(1, 1, sizes["width"]), None, []
    with torch.inference_mode():
        for _ in range(3000):
            began = time.perf_counter()
            found, states = recurrent(front(frames), states)
            torch.log_softmax(symbols(found), -1)
            times.append(time.perf_counter() - began)
    print(1e6 * statistics.median(times[500:]))


if __name__ == "__main__":
    main()
