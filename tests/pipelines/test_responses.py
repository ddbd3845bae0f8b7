"""Many inputs in batches that fit into memory."""

import numpy as np

from pipelines import responses
from pipelines.program import Program
from pipelines.ragged import Field
from pipelines.responses import respond


class Lengths(Program):
    """Answers how long a row is, and how many rows were asked with it."""

    signature = {  # noqa: RUF012
        "inputs": {"audio": {"dtype": "float32", "shape": [-1, -1]},
                   "length": {"dtype": "int32", "shape": [-1]}},
        "outputs": {"length": {"dtype": "int32", "shape": [-1]}},
    }  # fmt: skip
    fields = {"audio": Field(0.0, "length")}  # noqa: RUF012


def request(raw):
    (row,) = raw
    return {"audio": np.zeros((1, row), np.float32), "length": np.array([row], np.int32)}


def test_long_rows_share_no_batch(monkeypatch):
    monkeypatch.setattr(responses, "MOST_VALUES", 100)
    asked = []

    def run(batch):
        asked.append(batch["audio"].shape)
        return {"length": batch["length"]}

    raw = [60, 10, 500, 10, 45, 10, 55, 40]
    found = respond(Lengths(), request, run, raw, batch_size=4)
    assert found["length"].tolist() == raw
    assert asked == [(3, 10), (2, 45), (1, 55), (1, 60), (1, 500)]
    asked.clear()
    respond(Lengths(), request, run, [10] * 9, batch_size=4)
    assert asked == [(4, 10), (4, 10), (1, 10)]
