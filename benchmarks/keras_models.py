"""Ten kinds of public Keras RNN examples, rebuilt: what exports, how exactly, how fast.

    python benchmarks/keras_models.py                     # all, some minutes on one core
    python benchmarks/keras_models.py --models imdb ner

Each model has the layers and sizes of the example that its docstring names; the code is this
project's own, the weights are as initialised. ``serving.export_model`` writes and compares the
bundle; then each form answers in turn in one process, at batch 1 and 32. Times are the processor's,
of all threads, medians over interleaved rounds: on a machine that does other work, too, they repeat
where wall time does not. ``keras savedmodel`` is what ``model.export`` writes.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from measuring import report

from serving import export_model
from serving.predictor import OnnxModel
from serving.runtime.savedmodel_backend import SavedModelBackend

BATCHES = (1, 32)
DRAWN = np.random.default_rng(0)
Made = tuple[keras.Model, dict[str, np.ndarray]]


def ids(size: int, *shape: int) -> np.ndarray:
    """Rows that end early, as padded text does: zeros behind at least half of their steps."""
    rows = DRAWN.integers(1, size, shape).astype("int32")
    lengths = DRAWN.integers(shape[1] // 2, shape[1] + 1, shape[0])
    return rows * (np.arange(shape[1]) < lengths[:, None])


def normal(*shape: int) -> np.ndarray:
    """Standard normal numbers."""
    return DRAWN.normal(size=shape).astype("float32")


def imdb() -> Made:
    """Bidirectional LSTM on IMDB (keras.io, nlp/bidirectional_lstm_imdb), masked here."""
    x = keras.Input((None,), dtype="int32", name="words")
    y = layers.Embedding(20_000, 128, mask_zero=True)(x)
    y = layers.Bidirectional(layers.LSTM(64, return_sequences=True))(y)
    y = layers.Bidirectional(layers.LSTM(64))(y)
    y = layers.Dense(1, "sigmoid", name="positive")(y)
    return keras.Model(x, y, name="imdb"), {"words": ids(20_000, 64, 200)}


def weather() -> Made:
    """Weather forecasting (keras.io, timeseries/timeseries_weather_forecasting)."""
    x = keras.Input((120, 7), name="hours")
    y = layers.Dense(1, name="temperature")(layers.LSTM(32)(x))
    return keras.Model(x, y, name="weather"), {"hours": normal(64, 120, 7)}


def addition() -> Made:
    """Addition by sequence to sequence (keras.io, nlp/addition_rnn)."""
    x = keras.Input((7, 12), name="question")
    y = layers.RepeatVector(4)(layers.LSTM(128)(x))
    y = layers.LSTM(128, return_sequences=True)(y)
    y = layers.Dense(12, activation="softmax", name="digits")(y)
    return keras.Model(x, y, name="addition"), {"question": normal(64, 7, 12)}


def characters() -> Made:
    """Character-level sequence to sequence (keras.io, nlp/lstm_seq2seq): state handed on."""
    source, target = keras.Input((None, 71), name="source"), keras.Input((None, 93), name="target")
    _, *state = layers.LSTM(256, return_state=True)(source)
    y, *_ = layers.LSTM(256, return_sequences=True, return_state=True)(target, initial_state=state)
    y = layers.Dense(93, activation="softmax", name="next")(y)
    rows = {"source": normal(64, 16, 71), "target": normal(64, 40, 93)}
    return keras.Model([source, target], y, name="characters"), rows


def ner() -> Made:
    """Named entities without a CRF: Embedding, BiLSTM, TimeDistributed softmax (Huang 2015)."""
    x = keras.Input((None,), dtype="int32", name="words")
    y = layers.SpatialDropout1D(0.1)(layers.Embedding(20_000, 50, mask_zero=True)(x))
    y = layers.Bidirectional(layers.LSTM(100, return_sequences=True, recurrent_dropout=0.1))(y)
    y = layers.TimeDistributed(layers.Dense(9, activation="softmax"), name="tags")(y)
    return keras.Model(x, y, name="ner"), {"words": ids(20_000, 64, 50)}


def generation() -> Made:
    """Text generation with a GRU (tensorflow.org, text/text_generation), its state in and out."""
    x = keras.Input((None,), dtype="int32", name="text")
    state = keras.Input((1024,), name="state")
    y = layers.Embedding(66, 256)(x)
    y, after = layers.GRU(1024, return_sequences=True, return_state=True)(y, initial_state=state)
    y = layers.Dense(66, name="logits")(y)
    rows = {"text": DRAWN.integers(0, 66, (64, 20)).astype("int32"), "state": normal(64, 1024)}
    model = keras.Model([x, state], {"logits": y, "after": after}, name="generation")
    return model, rows


def stateful() -> Made:
    """Stateful LSTM (keras-team/keras, examples/lstm_stateful)."""
    x = keras.Input(batch_shape=(32, 50, 1), name="steps")
    y = layers.LSTM(50, return_sequences=True, stateful=True)(x)
    y = layers.Dense(1, name="next")(layers.LSTM(50, stateful=True)(y))
    return keras.Model(x, y, name="stateful"), {"steps": normal(64, 50, 1)}


def video() -> Made:
    """GRUs over the features of frames with a mask (keras.io, vision/video_classification)."""
    x, mask = keras.Input((20, 2048), name="frames"), keras.Input((20,), dtype="bool", name="mask")
    y = layers.GRU(16, return_sequences=True)(x, mask=mask)
    y = layers.Dropout(0.4)(layers.GRU(8)(y))
    y = layers.Dense(5, "softmax", name="class")(layers.Dense(8, "relu")(y))
    there = np.arange(20) < DRAWN.integers(5, 21, 64)[:, None]
    return keras.Model([x, mask], y, name="video"), {"frames": normal(64, 20, 2048), "mask": there}


def frames() -> Made:
    """Next frame by ConvLSTM (keras.io, vision/conv_lstm), smaller."""
    x = keras.Input((None, 16, 16, 1), name="film")
    y = layers.ConvLSTM2D(16, 5, padding="same", return_sequences=True, activation="relu")(x)
    y = layers.BatchNormalization()(y)
    y = layers.ConvLSTM2D(16, 3, padding="same", return_sequences=True, activation="relu")(y)
    y = layers.Conv3D(1, 3, activation="sigmoid", padding="same", name="next")(y)
    return keras.Model(x, y, name="frames"), {"film": normal(64, 8, 16, 16, 1)}


def attention() -> Made:
    """Encoder and decoder LSTMs with attention (tensorflow.org, text/nmt_with_attention)."""
    source = keras.Input((None,), dtype="int32", name="source")
    target = keras.Input((None,), dtype="int32", name="target")
    memory = layers.Embedding(5000, 128, mask_zero=True)(source)
    memory, h, c = layers.LSTM(128, return_sequences=True, return_state=True)(memory)
    y = layers.Embedding(5000, 128, mask_zero=True)(target)
    y = layers.LSTM(128, return_sequences=True)(y, initial_state=[h, c])
    context = layers.Attention()([y, memory])
    y = layers.LayerNormalization()(layers.Concatenate()([y, context]))
    y = layers.Dense(5000, name="logits")(y)
    rows = {"source": ids(5000, 64, 20), "target": ids(5000, 64, 16)}
    return keras.Model([source, target], y, name="attention"), rows


MODELS: dict[str, Callable[[], Made]] = {
    one.__name__: one
    for one in (imdb, weather, addition, characters, ner, generation, stateful, video, frames,
                attention)
}  # fmt: skip


def main() -> None:
    """Measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--engines", action="store_true", help="build TensorRT engines, too")
    options = parser.parse_args()
    rows = []
    try:
        for name in options.models:
            keras.utils.set_random_seed(0)
            made = MODELS[name]()
            with tempfile.TemporaryDirectory() as place:
                row = {"model": name, **measured(*made, Path(place), options.rounds)}
                if options.engines and "onnx ms at 1" in row:
                    row["tensorrt"] = engine(*made, Path(place))
            rows.append(row)
            print(row, flush=True)
    finally:  # stopped, it keeps what there is
        report("keras_models", rows)


def measured(model: keras.Model, examples: dict[str, np.ndarray], place: Path, rounds: int) -> dict:
    """One row: what exports, parity, and processor milliseconds of each form."""
    manifest = export_model(model, place / "bundle", examples)
    row = {"parameters": model.count_params()}
    for form in ("savedmodel", "onnx"):
        found = manifest["artifacts"].get(form)
        row[f"{form} parity"] = found and found["parity"]
    row["refused"] = manifest.get("refused", {}).get("onnx", "").partition(" cannot")[0]
    forms = callables(model, place, "onnx" in manifest["artifacts"])
    for batch in BATCHES:
        some = {name: array[:batch] for name, array in examples.items()}
        found = interleaved(forms, some, rounds)
        row |= {f"{form} ms at {batch}": ms for form, ms in found.items()}
    return row


def engine(model: keras.Model, examples: dict[str, np.ndarray], place: Path) -> str:
    """Status of a TensorRT engine: built, or verified where a GPU is."""
    found = export_model(model, place / "engine", examples, formats=["tensorrt"])
    return found["artifacts"]["tensorrt"]["status"]


def callables(model: keras.Model, place: Path, onnx: bool) -> dict[str, Callable]:
    """Each form as a function of named arrays."""
    model.export(str(place / "keras"), verbose=False)
    loaded = tf.saved_model.load(str(place / "keras"))  # its variables end with it
    names = [tensor.name for tensor in model.inputs]
    fixed = model.inputs[0].shape[0]

    def given(arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
        if fixed is None:
            return [arrays[name] for name in names]
        # A fixed batch has to be filled, which is its price.
        return [np.resize(arrays[name], (fixed, *arrays[name].shape[1:])) for name in names]

    def one(arrays: dict[str, np.ndarray]):
        found = given(arrays)
        return found[0] if len(found) == 1 else found

    ours = SavedModelBackend(place / "bundle" / "savedmodel" / "1")
    forms = {
        "keras predict": lambda a: model.predict(
            one(a), batch_size=fixed or len(one(a)[0] if len(names) > 1 else one(a)), verbose=0
        ),
        "keras call": lambda a: model(one(a), training=False),
        "keras savedmodel": lambda a: loaded.serve(*map(tf.constant, given(a)))
        if len(names) == 1 else loaded.serve(list(map(tf.constant, given(a)))),
        "savedmodel": ours.run,
    }  # fmt: skip
    if onnx:
        forms["onnx"] = OnnxModel(place / "bundle" / "onnx" / "1", threads=1).run
    return forms


def interleaved(forms: dict[str, Callable], arrays: dict, rounds: int) -> dict[str, float]:
    """Median processor milliseconds of a call of each form, called in turn."""
    times: dict[str, list[float]] = {form: [] for form in forms}
    for call in forms.values():
        call(arrays)
        call(arrays)
    for _ in range(rounds):
        for form, call in forms.items():
            began = time.process_time()
            call(arrays)
            times[form].append(time.process_time() - began)
    return {form: 1e3 * statistics.median(found) for form, found in times.items()}


if __name__ == "__main__":
    main()
