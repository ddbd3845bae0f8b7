"""Seconds of training until the same score: Seqloom, the Keras example scripts' way, PyTorch.

    python benchmarks/training.py imdb --data ../shared/data/imdb --peer-python PYTHON
    python benchmarks/training.py ud_english_ewt --data ../shared/data/ud_english_ewt --rounds 8

One network on the same numbers, from the same weights, with the same Adam, clipping, dropout and
batch size: an embedding, a bidirectional GRU, the maximum over the steps (reviews) or nothing
(sentences, a tag each token), and a dense layer. "Seqloom": its recurrent layers and its batches.
"Keras script": as Keras's examples have it, arrays padded to the longest, ``model.fit`` on them,
Keras's own layers, no mask, which is its quickest form. "PyTorch packed": shuffled batches as
packed sequences. "PyTorch padded": batches of like length, not packed. PYTHON is the interpreter of
an environment with PyTorch, without which its sides are left out.

Each side is a process that trains a part of an epoch when it is told to, one after the other in
turn, so that a slow moment of the machine hits all. Only training is timed: what is traced or
compiled before the first step is a column of its own, judging is left out. Every side writes its
state after each part: a call with the same --state goes on where the one before ended. A side's
time to a score is that of the first part after which it has it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from measuring import gpu_name, report, save

IGNORED = -1
NETWORK = {
    "embedding": 64, "units": 64, "dropout": 0.4, "learning_rate": 2e-3, "epsilon": 1e-7,
    "clipnorm": 5.0, "batch_size": 32,
}  # fmt: skip
SIDES = {
    "Seqloom": "seqloom", "Keras script": "keras", "PyTorch packed": "pytorch_packed",
    "PyTorch padded": "pytorch_padded",
}  # fmt: skip


def write_data(options: argparse.Namespace, directory: Path) -> None:
    """``data.npz``, numbers of tokens and labels, and ``about.json``."""
    import tasks
    from tasks.kinds.contract import DataOptions

    each_step = options.name == "ud_english_ewt"
    task = tasks.get("tagging" if each_step else "sentiment")
    splits = task.load(DataOptions(options.data))
    changes = {} if each_step else {"max_length": 400, "vocabulary_size": options.vocabulary}
    settings, _ = task.resolve(
        task.with_settings(task.settings, changes), DataOptions(options.data), splits
    )
    preprocessor = task.adapt(settings, splits.train)
    # Nothing is chosen here: reviews of both parts make the score less a matter of chance.
    judged = splits.validation if each_step else [*splits.validation, *splits.test]
    arrays, about = {}, {**NETWORK, "each_step": each_step, "parts": options.parts}
    for part, examples in (("train", splits.train), ("judged", judged)):
        encoded = preprocessor.encoded(examples)
        tokens = encoded.inputs["words" if each_step else "tokens"]
        arrays[f"{part}_x"], arrays[f"{part}_x_ends"] = tokens.values, tokens.ends
        labels = encoded.targets["tags" if each_step else "answer"]
        ends = labels.ends if each_step else np.arange(len(labels) + 1)
        arrays[f"{part}_y"], arrays[f"{part}_y_ends"] = (
            (labels.values if each_step else labels).astype(np.int32), ends
        )  # fmt: skip
        about[part] = len(encoded)
    about["vocabulary"] = 1 + max(int(arrays[f"{part}_x"].max()) for part in ("train", "judged"))
    about["classes"] = 1 + int(arrays["train_y"].max())
    np.savez(directory / "data.npz", **arrays)
    (directory / "about.json").write_text(json.dumps(about))


class KerasSide:
    """A training in TensorFlow, Seqloom's way or a plain script's.

    Args:
        directory: with what ``write_data`` wrote.
        plain: the script's way.
        seed: of weights, dropout and order.
    """

    def __init__(self, directory: Path, plain: bool, seed: int) -> None:
        import keras

        from pipelines.encoded import EncodedRows
        from pipelines.ragged import Field, Ragged

        self.about = json.loads((directory / "about.json").read_text())
        self.plain, self.seed, arrays = plain, seed, np.load(directory / "data.npz")

        def rows(part: str) -> EncodedRows:
            x, y = (Ragged(arrays[f"{part}_{n}"], arrays[f"{part}_{n}_ends"]) for n in "xy")
            labels = y if self.about["each_step"] else y.values
            self.labels = len(y.values)  # in the end those that are judged
            return EncodedRows({"x": x}, {"y": labels}, fields={"y": Field(IGNORED)})

        self.rows = {part: rows(part) for part in ("train", "judged")}
        if plain:
            self.arrays = {part: self.whole(one) for part, one in self.rows.items()}
        keras.utils.set_random_seed(seed)
        self.model = self.network()
        weights = directory / f"weights-{seed}.npz"
        if not weights.is_file():
            np.savez(weights, **self.named_weights())
        self.warm_up()

    def whole(self, rows) -> tuple[np.ndarray, np.ndarray]:
        """All rows, padded to the longest of train and judged."""
        from pipelines.ragged import padded

        width = max(int(one.lengths.max()) for one in self.rows.values())
        x, y = rows.inputs["x"].rows(), rows.targets["y"]
        x = padded([*x, np.zeros(width, np.int32)])[:-1]
        if self.about["each_step"]:
            y = padded([*y.rows(), np.full(width, IGNORED, np.int32)], IGNORED)[:-1]
        return x, y

    def network(self):
        """Compiled."""
        import keras

        from models.config import RecurrentConfig
        from models.pooling import MaskedPooling
        from models.recurrent import recurrent_layer
        from models.training import compile_model

        about, layers = self.about, keras.layers
        config = RecurrentConfig(
            units=about["units"], learning_rate=about["learning_rate"], clipnorm=about["clipnorm"]
        )
        tokens = keras.Input((None,), dtype="int32", name="x")
        x = layers.Embedding(
            about["vocabulary"], about["embedding"], mask_zero=not self.plain, name="table"
        )(tokens)
        x = layers.Dropout(about["dropout"])(x)
        if self.plain:
            cell = layers.GRU(about["units"], return_sequences=True)
            x = layers.Bidirectional(cell, name="gru")(x)
        else:
            x = recurrent_layer(config, True, "gru")(x)
        if not about["each_step"]:
            x = layers.GlobalMaxPooling1D()(x) if self.plain else MaskedPooling("max")(x)
        x = layers.Dropout(about["dropout"])(x)
        y = layers.Dense(about["classes"], name="y")(x)
        loss = keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, ignore_class=IGNORED if about["each_step"] else None
        )
        model = keras.Model({"x": tokens}, {"y": y})
        if self.plain:
            adam = keras.optimizers.Adam(about["learning_rate"], global_clipnorm=about["clipnorm"])
            model.compile(adam, {"y": loss}, jit_compile=False)
        else:
            compile_model(model, config, {"y": loss}, None)
        return model

    def named_weights(self) -> dict[str, np.ndarray]:
        """As the peer takes them."""
        gru, output = self.model.get_layer("gru"), self.model.get_layer("y")
        found = {"table": self.model.get_layer("table").get_weights()[0]}
        for way, layer in (("forward", gru.forward_layer), ("backward", gru.backward_layer)):
            found |= {f"{way}_{i}": array for i, array in enumerate(layer.get_weights())}
        return {**found, "kernel": output.get_weights()[0], "bias": output.get_weights()[1]}

    def warm_up(self) -> None:
        """Traces all that is needed, and leaves the weights as they were."""
        from models.training import make_variables

        make_variables(self.model, self.rows["train"].batches(4))
        before = [np.asarray(variable) for variable in self.variables]
        began = time.perf_counter()
        self.fit(slice(0, 2), 0)
        self.score(64)
        self.start_up = time.perf_counter() - began
        for variable, value in zip(self.variables, before, strict=True):
            variable.assign(value)

    @property
    def variables(self) -> list:
        """All of the state of the training."""
        return [*self.model.variables, *self.model.optimizer.variables]

    def fit(self, part: slice, epoch: int) -> None:
        """Some batches of an epoch."""
        import tensorflow as tf

        from pipelines.batching import AS_BUILT

        size = self.about["batch_size"]
        if self.plain:
            x, y = self.arrays["train"]
            order = np.random.default_rng([self.seed, epoch]).permutation(len(x))
            chosen = order[part.start * size : part.stop * size]
            # As fit makes of arrays, but for tf.data's tuning: its thread would hold up the end of
            # each part, which a whole training has only once.
            rows = tf.data.Dataset.from_tensor_slices(({"x": x[chosen]}, {"y": y[chosen]}))
            batches = rows.batch(size).prefetch(2).with_options(AS_BUILT)
            self.model.fit(batches, shuffle=False, verbose=0)
        else:
            epochs = self.rows["train"].training_batches(size, self.seed)
            batches = epochs.one(epoch).skip(part.start).take(part.stop - part.start)
            self.model.fit(batches, shuffle=False, verbose=0)

    def train(self, epoch: int, part: int) -> tuple[float, float]:
        """Wall-clock and processor seconds of one part of an epoch."""
        steps, parts = -(-self.about["train"] // self.about["batch_size"]), self.about["parts"]
        wall, cpu = time.perf_counter(), time.process_time()
        self.fit(slice(steps * part // parts, steps * (part + 1) // parts), epoch)
        return time.perf_counter() - wall, time.process_time() - cpu

    def score(self, most: int = 10**9) -> float:
        """Share of right answers."""
        right = total = 0
        if self.plain:
            every = self.arrays["judged"]
            firsts = range(0, len(every[0]), 128)
            batches = (tuple(array[i : i + 128] for array in every) for i in firsts)
        else:
            judged = self.rows["judged"].batches(128).as_numpy_iterator()
            batches = ((x["x"], y["y"]) for x, y in judged)
        for x, y in batches:
            known = y != IGNORED
            found = self.model.predict_on_batch({"x": x})["y"].argmax(-1)
            right, total = right + (found == y)[known].sum(), total + known.sum()
            if total >= most:
                break
        if total < min(most, self.labels):
            raise ValueError(f"{total} of {self.labels} labels were judged")
        return float(right / total)


def serve_side(directory: Path, name: str, seed: int, threads: int) -> None:
    """The loop of a side's process."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    side = KerasSide(directory, name == "keras", seed)
    state = directory / f"{name}-{seed}.npz"
    if state.is_file():
        with np.load(state) as saved:
            for number, variable in enumerate(side.variables):
                variable.assign(saved[f"v{number}"])
    print(json.dumps({"score": side.score(), "start": side.start_up}), flush=True)
    for line in sys.stdin:
        epoch, part = map(int, line.split())
        wall, cpu = side.train(epoch, part)
        np.savez(state, **{f"v{i}": np.asarray(v) for i, v in enumerate(side.variables)})
        print(json.dumps({"wall": wall, "cpu": cpu, "score": side.score()}), flush=True)


class Process:
    """A side that runs in its own process, and what it has reached."""

    def __init__(self, options: argparse.Namespace, name: str, seed: int) -> None:
        self.path = curve_file(options, name, seed)
        self.curve = json.loads(self.path.read_text()) if self.path.is_file() else []
        self.parts = options.parts
        command = [sys.executable, __file__, options.name, "--side", name, "--seeds", str(seed)]
        command += ["--state", str(options.state), "--threads", str(options.threads)]
        if name.startswith("pytorch"):
            peer = Path(__file__).with_name("training_peer.py")
            where = [options.state, name.partition("_")[2], seed, options.threads]
            device = "cuda" if options.gpu else "cpu"
            command = [options.peer_python, str(peer), *map(str, where), device]
        hidden = {} if options.gpu else {"CUDA_VISIBLE_DEVICES": ""}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, **hidden, "TF_CPP_MIN_LOG_LEVEL": "3",
                 "TF_FORCE_GPU_ALLOW_GROWTH": "true"},  # sides share its memory
        )  # fmt: skip
        first = self._answer()
        self.curve = self.curve or [{"wall": 0.0, "cpu": 0.0, **first}]

    def _answer(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the side of {self.path.name} ended")
        return json.loads(line)

    def train(self) -> None:
        """The next part."""
        done, last = len(self.curve) - 1, self.curve[-1]
        self.process.stdin.write(f"{done // self.parts} {done % self.parts}\n")
        self.process.stdin.flush()
        answer = self._answer()
        for kind in ("wall", "cpu"):
            answer[kind] += last[kind]
        self.curve.append(answer)
        self.path.write_text(json.dumps(self.curve))

    def close(self) -> None:
        """Ends it."""
        self.process.stdin.close()
        self.process.wait()


def curve_file(options: argparse.Namespace, name: str, seed: int) -> Path:
    """Where a side's curve is."""
    return options.state / f"{name}-{seed}.json"


def curves_of(options: argparse.Namespace) -> dict[str, list[list[dict]]]:
    """What each side has reached, a list of points for each seed."""
    found = {}
    for label, name in SIDES.items():
        files = [curve_file(options, name, seed) for seed in options.seeds]
        files = files if name in options.sides else []
        if curves := [json.loads(file.read_text()) for file in files if file.is_file()]:
            found[label] = curves
    return found


def summary(options: argparse.Namespace) -> list[dict]:
    """Seconds to the score that all sides reach, medians over the seeds."""
    if not (curves := curves_of(options)):
        sys.exit("no side has finished a part; there is nothing to report")
    best = {way: [max(p["score"] for p in one) for one in found] for way, found in curves.items()}
    target = options.target or np.floor(200 * min(map(min, best.values()))) / 200
    parts = json.loads((options.state / "about.json").read_text())["parts"]
    rows: list[dict] = []
    for way, found in curves.items():
        reached = [next((p for p in one if p["score"] >= target), None) for one in found]
        row = {"way": way, "seeds": len(found), "score": float(target)}
        for kind in ("wall", "cpu"):
            seconds = float(np.median([p[kind] for p in reached])) if all(reached) else None
            ours = rows[0][f"{kind} s"] if rows else seconds
            row[f"{kind} s"] = seconds
            row[f"{kind}, times Seqloom's"] = seconds / ours if seconds and ours else None
        for kind in ("wall", "cpu"):
            each = [one[-1][kind] / (len(one) - 1) * parts for one in found]
            row[f"{kind} s an epoch"] = float(np.median(each))
        row |= {"best score": float(np.mean(best[way])), "start s": found[0][0].get("start")}
        rows.append(row)
    return rows


def points(options: argparse.Namespace) -> list[dict]:
    """The score of each side against time."""
    return [
        {"way": way, "seed": seed, "part": part, **{k: p[k] for k in ("wall", "cpu", "score")}}
        for way, found in curves_of(options).items()
        for seed, curve in zip(options.seeds, found, strict=False)
        for part, p in enumerate(curve)
    ]


def main() -> None:
    """Trains what is left, and reports."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name", choices=("imdb", "ud_english_ewt"), nargs="?", default="imdb")
    parser.add_argument("--data", default="synthetic")
    parser.add_argument("--peer-python", default="", help="an interpreter that has PyTorch")
    parser.add_argument("--sides", nargs="+", choices=SIDES.values(), default=list(SIDES.values()))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--rounds", type=int, default=12, help="parts of epochs; 0 only prepares")
    parser.add_argument("--parts", type=int, default=3, help="of an epoch, each judged")
    parser.add_argument("--seconds", type=float, default=3600, help="begin no round after them")
    parser.add_argument("--vocabulary", type=int, default=20000, help="words, of imdb")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--target", type=float, default=0.0, help="score; else what all reach")
    parser.add_argument("--gpu", action="store_true", help="use it; else it is hidden")
    parser.add_argument("--state", type=Path, help="directory; runs/training-NAME if absent")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.state = options.state or Path("runs") / f"training-{options.name}"
    if options.side:
        serve_side(options.state, options.side, options.seeds[0], options.threads)
        return
    options.state.mkdir(parents=True, exist_ok=True)
    if not (options.state / "data.npz").is_file():
        write_data(options, options.state)
    if not options.rounds:
        return
    names = [n for n in options.sides if options.peer_python or not n.startswith("pytorch")]
    until = 0.0
    for seed in options.seeds:
        files = {name: curve_file(options, name, seed) for name in names}
        left = [
            name for name, file in files.items()
            if not file.is_file() or len(json.loads(file.read_text())) <= options.rounds
        ]  # fmt: skip
        sides = [Process(options, name, seed) for name in left]
        until = until or time.monotonic() + options.seconds  # starting sides is not training
        for number in range(1, options.rounds + 1):
            for side in sides:
                if len(side.curve) <= number and time.monotonic() < until:
                    side.train()
        for side in sides:
            side.close()
    gpu, name = ("_gpu", {"GPU": gpu_name()}) if options.gpu else ("", {})
    report(f"training_{options.name}{gpu}", [name | row for row in summary(options)])
    save(f"training_{options.name}{gpu}_curves", points(options))


if __name__ == "__main__":
    main()
