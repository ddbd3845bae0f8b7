"""PyTorch's side of translation.py: the same encoder-decoder, and a beam search over whole batches.

    python translation_peer.py WEIGHTS.npz THREADS

Needs torch and NumPy alone. The first line that it reads has the texts as numbers and the settings
of the search; each line "BEAM BATCH" is answered with the seconds of one pass over all texts, each
"BEAM" with the numbers of their translations. Rows that are done leave the batch, as in fairseq.
"""

import json
import sys
import time

import numpy as np
import torch
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

START, END, FORBIDDEN = 2, 3, 3  # padding, the unknown token and the start are never written


class Translator:
    """A bidirectional GRU and a GRU with additive attention and input feeding.

    Args:
        weights: arrays by name, as ``translation.py`` writes them.
    """

    def __init__(self, weights):
        self.__dict__.update({name: torch.from_numpy(array) for name, array in weights.items()})
        units, width = weights["recurrent"].shape[1], weights["source_table"].shape[1]
        self.encoder = torch.nn.GRU(width, units, batch_first=True, bidirectional=True)
        for name, value in self.encoder.named_parameters():
            value.copy_(torch.from_numpy(weights[name]))

    def encode(self, source, lengths):
        """Numbers ``[rows, source]`` to what is the same at each step, and the first state."""
        packed = pack_padded_sequence(
            functional.embedding(source, self.source_table), lengths, batch_first=True,
            enforce_sorted=False,
        )  # fmt: skip
        outputs, last = self.encoder(packed)
        memory, _ = pad_packed_sequence(outputs, batch_first=True)
        keys = functional.linear(memory, self.keys, self.keys_bias)
        both = torch.cat([last[0], last[1]], 1)
        state = torch.tanh(functional.linear(both, self.first, self.first_bias))
        return (memory, keys, source == 0), state

    def step(self, tokens, state, feed, fixed):
        """Log-probabilities ``[rows, tokens]`` of what follows, the state and what is fed."""
        memory, keys, padding = fixed
        x = torch.cat([functional.embedding(tokens, self.target_table), feed], 1)
        state = torch.gru_cell(
            x, state, self.kernel, self.recurrent, self.kernel_bias, self.recurrent_bias
        )
        asked = functional.linear(state, self.query)[:, None]
        scores = (torch.tanh(asked + keys) * self.scale).sum(2)
        looked = torch.softmax(scores.masked_fill_(padding, -1e9), 1)
        context = torch.bmm(looked[:, None], memory)[:, 0]
        feed = torch.tanh(
            functional.linear(torch.cat([state, context], 1), self.combine, self.combine_bias)
        )
        found = torch.log_softmax(functional.linear(feed, self.output_table, self.output_bias), 1)
        found[:, :FORBIDDEN] = -torch.inf
        return found, state, feed


def translate(model, sources, beam, settings):
    """The best translation of each text as numbers, ``END`` left out."""
    lengths = torch.tensor([len(one) for one in sources])
    rows, longest = len(sources), int(lengths.max())
    source = torch.zeros(rows, longest, dtype=torch.long)
    for row, one in zip(source, sources, strict=True):
        row[: len(one)] = torch.tensor(one)
    fixed, state = model.encode(source, lengths)
    limits = torch.clamp(settings["times"] * lengths + settings["more"], max=settings["most"])
    alpha = settings["length_penalty"]
    best, answers = [-np.inf] * rows, [[] for _ in range(rows)]
    places = torch.arange(rows)  # of the rows that are open
    # Of the first step all hypotheses of a row would be alike: there is one.
    width, sums = 1, torch.zeros(rows, 1)
    tokens, feed = torch.full((rows,), START), torch.zeros(rows, model.target_table.shape[1])
    written = torch.zeros(rows, 1, 0, dtype=torch.long)
    for position in range(1, int(limits.max()) + 1):
        found, state, feed = model.step(tokens, state, feed, fixed)
        vocabulary = found.shape[1]
        every = (sums.reshape(-1, 1) + found).reshape(len(places), -1)
        sums, chosen = every.topk(2 * beam)
        parents, tokens = chosen // vocabulary, chosen % vocabulary
        at_limit = limits[places] == position
        ends = tokens == END
        # Only the best `beam` can end; at the limit those that are open end too.
        rank = torch.arange(2 * beam)
        open_rank = (~ends).cumsum(1)
        finishes = (ends & (rank < beam)) | (~ends & (open_rank <= beam) & at_limit[:, None])
        normalised = sums / ((5 + position) / 6) ** alpha
        normalised = torch.where(finishes, normalised, -torch.inf)
        values, which = normalised.max(1)
        for i in torch.nonzero(values > -torch.inf)[:, 0].tolist():
            row, one = int(places[i]), int(which[i])
            if float(values[i]) > best[row]:
                best[row] = float(values[i])
                ended = [] if ends[i, one] else [int(tokens[i, one])]
                answers[row] = written[i, parents[i, one]].tolist() + ended
        order = torch.argsort((ends | (open_rank > beam)).int(), dim=1, stable=True)[:, :beam]
        sums = sums.gather(1, order)
        parents, tokens = parents.gather(1, order), tokens.gather(1, order)
        bound = sums[:, 0] / ((5 + limits[places]) / 6) ** alpha
        reached = torch.tensor([best[row] for row in places.tolist()])
        still = torch.nonzero((limits[places] > position) & (bound > reached))[:, 0]
        if not len(still):
            break
        lines = (parents + torch.arange(len(places))[:, None] * width)[still].reshape(-1)
        written = written[still[:, None], parents[still]]
        written = torch.cat([written, tokens[still][:, :, None]], 2)
        sums, tokens = sums[still], tokens[still].reshape(-1)
        state, feed = state[lines], feed[lines]
        if width == 1 and beam > 1 or len(still) < len(places):
            own = still[:, None] * width + torch.arange(beam) % width
            fixed = tuple(one[own.reshape(-1)] for one in fixed)
        width, places = beam, places[still]
    return answers


@torch.inference_mode()
def main(path: str, threads: str) -> None:
    """Answers lines until there are none."""
    torch.set_flush_denormal(True)
    torch.set_num_threads(int(threads))
    model = Translator(dict(np.load(path)))
    given = json.loads(sys.stdin.readline())
    sources, settings = given["sources"], given["settings"]
    for line in sys.stdin:
        beam, *batch = map(int, line.split())
        size, answers = (batch or [32])[0], []
        began = time.perf_counter()
        for first in range(0, len(sources), size):
            answers += translate(model, sources[first : first + size], beam, settings)
        seconds = time.perf_counter() - began
        print(json.dumps(seconds if batch else answers), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
