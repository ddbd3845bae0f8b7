"""PyTorch's side of training.py: the same network on packed sequences, from the same weights.

    python training_peer.py DIRECTORY packed|padded SEED THREADS DEVICE

Needs torch and NumPy alone. DIRECTORY has what training.py wrote; each line that is read is one
part of an epoch to train, and is answered with its seconds and the score after it. "packed":
shuffled batches as packed sequences, as in PyTorch's tutorials. "padded": batches of like length,
made as Seqloom makes them, without packing: what one gets who knows that packing is slow on a CPU.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

IGNORED = -1


def gates(array):
    """Keras's gates z, r, h of a GRU as PyTorch's r, z, n, along the last axis."""
    z, r, n = np.split(array, 3, -1)
    return torch.from_numpy(np.concatenate([r, z, n], -1).T.copy())


class Tagger(torch.nn.Module):
    """Embedding, bidirectional GRU, maximum over the steps unless each is labelled, classes."""

    def __init__(self, weights, dropout, each_step, packed):
        super().__init__()
        self.each_step, self.packed = each_step, packed
        table, output = weights["table"], weights["kernel"]
        self.table = torch.nn.Embedding(*table.shape)
        self.gru = torch.nn.GRU(
            table.shape[1], output.shape[0] // 2, batch_first=True, bidirectional=True
        )
        self.output, self.dropout = torch.nn.Linear(*output.shape), torch.nn.Dropout(dropout)
        with torch.no_grad():
            self.table.weight.copy_(torch.from_numpy(table))
            self.output.weight.copy_(torch.from_numpy(output.T.copy()))
            self.output.bias.copy_(torch.from_numpy(weights["bias"]))
            for way, end in (("forward", ""), ("backward", "_reverse")):
                kernel, recurrent, biases = (weights[f"{way}_{i}"] for i in range(3))
                for name, value in (("weight_ih", kernel), ("weight_hh", recurrent),
                                    ("bias_ih", biases[0]), ("bias_hh", biases[1])):  # fmt: skip
                    getattr(self.gru, f"{name}_l0{end}").copy_(gates(value))

    def forward(self, tokens, lengths):
        """Numbers ``[batch, time]`` to logits."""
        x = self.dropout(self.table(tokens))
        if self.packed:
            x = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        y, _ = self.gru(x)
        if self.packed:
            y, _ = pad_packed_sequence(y, batch_first=True)
        if not self.each_step:
            y = y.masked_fill((tokens == 0)[..., None], -3e4).max(1).values
        return self.output(self.dropout(y))


def padded(rows, value):
    """Rows below one another."""
    found = np.full((len(rows), max(map(len, rows))), value, np.int64)
    for line, row in zip(found, rows, strict=True):
        line[: len(row)] = row
    return torch.from_numpy(found)


class Side:
    """The training and what it is judged on."""

    def __init__(self, directory, packed, seed, device):
        about = json.loads((directory / "about.json").read_text())
        self.about, self.packed, self.seed, self.device = about, packed, seed, device
        arrays = np.load(directory / "data.npz")
        self.rows = {
            name: np.split(arrays[name], arrays[f"{name}_ends"][1:-1])
            for name in ("train_x", "train_y", "judged_x", "judged_y")
        }
        weights = np.load(directory / f"weights-{seed}.npz")
        torch.manual_seed(seed)
        self.model = Tagger(weights, about["dropout"], about["each_step"], packed).to(device)
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), about["learning_rate"], eps=about["epsilon"]
        )
        self.loss = torch.nn.CrossEntropyLoss(ignore_index=IGNORED)

    def batches(self, epoch):
        """Numbers of the rows of each batch."""
        draw, size = np.random.default_rng([self.seed, epoch]), self.about["batch_size"]
        count = len(self.rows["train_x"])
        if self.packed:
            order = draw.permutation(count)
            return [order[i : i + size] for i in range(0, count, size)]
        lengths = np.array([len(row) for row in self.rows["train_x"]])
        jittered = lengths * (1 + 0.1 * draw.random(count)) + draw.random(count)
        found = np.array_split(np.argsort(jittered), -(-count // size))
        return [found[i] for i in draw.permutation(len(found))]

    def batch(self, part, numbers):
        """Tokens, lengths and labels."""
        x, y = ([self.rows[f"{part}_{name}"][i] for i in numbers] for name in "xy")
        labels = (
            padded(y, IGNORED) if self.about["each_step"] else torch.tensor([int(i[0]) for i in y])
        )
        lengths = torch.tensor([len(row) for row in x])
        return padded(x, 0).to(self.device), lengths, labels.to(self.device)

    def train(self, epoch, part):
        """Processor and wall-clock seconds of one part of an epoch."""
        wall, cpu = time.perf_counter(), time.process_time()
        every, parts = self.batches(epoch), self.about["parts"]
        self.model.train()
        for numbers in every[len(every) * part // parts : len(every) * (part + 1) // parts]:
            tokens, lengths, labels = self.batch("train", numbers)
            self.optimizer.zero_grad()
            logits = self.model(tokens, lengths)
            self.loss(logits.flatten(0, -2), labels.flatten()).backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.about["clipnorm"])
            self.optimizer.step()
        if self.device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter() - wall, time.process_time() - cpu

    @torch.no_grad()
    def score(self):
        """Share of right answers."""
        self.model.eval()
        rows, right, total = self.rows["judged_x"], 0, 0
        order = np.argsort([len(row) for row in rows], kind="stable")
        for first in range(0, len(order), 256):
            tokens, lengths, labels = self.batch("judged", order[first : first + 256])
            found, known = self.model(tokens, lengths).argmax(-1), labels != IGNORED
            right, total = right + int((found == labels)[known].sum()), total + int(known.sum())
        return right / total


def main():
    """Answers line by line."""
    directory, way, seed, threads, device = sys.argv[1:]
    torch.set_num_threads(int(threads))
    torch.set_flush_denormal(True)  # else the last steps of long rows take many times as long
    side = Side(Path(directory), way == "packed", int(seed), device)
    state = Path(directory) / f"pytorch_{way}-{seed}.pt"
    if state.is_file():
        saved = torch.load(state)
        side.model.load_state_dict(saved["model"])
        side.optimizer.load_state_dict(saved["optimizer"])
        torch.set_rng_state(saved["random"])
    print(json.dumps({"score": side.score()}), flush=True)
    for line in sys.stdin:
        epoch, part = map(int, line.split())
        wall, cpu = side.train(epoch, part)
        saved = {"model": side.model.state_dict(), "optimizer": side.optimizer.state_dict()}
        torch.save({**saved, "random": torch.get_rng_state()}, state)
        print(json.dumps({"wall": wall, "cpu": cpu, "score": side.score()}), flush=True)


if __name__ == "__main__":
    main()
