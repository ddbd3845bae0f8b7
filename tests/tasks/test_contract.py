"""The contract: what every task must keep, from tiny data to a served answer.

Tasks join by being there: the module runs over ``tasks.names()``.
"""

import json
import subprocess
import sys
import urllib.request
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import tasks
from serving.comparing import distance
from tasks.kinds.contract import DataOptions, Settings, Task
from tasks.stages.exporting import export
from tasks.stages.predicting import keras_answers, keras_outputs
from tasks.stages.run_directory import Run
from tasks.stages.training import train

ROOT = Path(tasks.__file__).resolve().parents[1]
DATA = DataOptions("synthetic:1200")
# The share of the worst possible that a tiny sample may be wrong by once it is learnt by heart.
OVERFIT_EXAMPLES = 32
OVERFIT = {"accuracy": ("max", 0.95), "mse": ("min", 0.05), "mae": ("min", 0.15)}
ANSWERS_APART = 1e-5


@dataclass
class Trained:
    """One task, trained for a moment through its stages and exported."""

    task: Task
    settings: Settings
    splits: Any
    run: Run
    bundle: Path
    exported: dict
    raw: list
    expected: dict  # Keras's wire outputs for ``raw``

    @property
    def saved_model(self) -> Path:
        return self.bundle / self.exported["artifacts"]["savedmodel"]["path"]


@pytest.fixture(scope="module", params=tasks.names())
def trained(request, tmp_path_factory):
    task = tasks.get(request.param)
    settings = task.with_settings(task.settings, {**task.quick, "epochs": 1})
    run = Run(tmp_path_factory.mktemp(task.name) / "run")
    splits = task.load(DATA)
    train(task, DATA, settings, run, splits=splits)
    exported = export(run, run.path / "bundle")
    raw = [*task.raw_inputs(splits.validation[:5]), *task.edge_inputs(run.preprocessor())]
    expected = keras_outputs(task.inference_model(run.model()), run.preprocessor(), raw)
    bundle = Path(exported["bundle"])
    return Trained(task, settings, splits, run, bundle, exported, raw, expected)


def assert_answers_equal(got, want, scale=None):
    """Words must be equal and numbers close, however deeply they lie, in units of the greatest."""
    scale = scale or max([1.0, *(abs(x) for x in keras.tree.flatten(want) if type(x) is float)])
    if isinstance(want, dict):
        assert got.keys() == want.keys()
        for key in want:
            assert_answers_equal(got[key], want[key], scale)
    elif isinstance(want, list):
        assert len(got) == len(want)
        for pair in zip(got, want, strict=True):
            assert_answers_equal(*pair, scale)
    elif isinstance(want, float):
        assert abs(got - want) <= ANSWERS_APART * scale
    else:
        assert got == want


def as_json(value):
    """JSON of what clients have: text, numbers, arrays."""
    return json.dumps(value, default=np.ndarray.tolist)


def wire_rows(trained):
    """The raw inputs as rows of the served signature: the one input alone, or named ones."""
    wire = trained.run.preprocessor().to_wire(trained.raw)
    rows = [
        {
            name: value[i].decode() if isinstance(value[i], bytes) else value[i].tolist()
            for name, value in wire.items()
        }
        for i in range(len(trained.raw))
    ]
    return [next(iter(row.values())) for row in rows] if len(wire) == 1 else rows


def fresh_python(code, *arguments, cwd=ROOT):
    """Standard output of a new process; what it needs of this one it must import itself."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=cwd, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---- data and training


def test_batches_give_every_example_exactly_once(trained):
    task, examples = trained.task, trained.splits.train
    preprocessor = trained.run.preprocessor()

    def unpadded(part):
        return (np.trim_zeros(part, "b") if part.ndim == 1 else part).tobytes()

    def rows(dataset):
        """Each example as bytes, the padding of its batch taken off."""
        found = []
        for inputs, target in dataset.as_numpy_iterator():
            arrays = [inputs[name] for name in sorted(inputs)]
            for *parts, label in zip(*arrays, target, strict=True):
                found.append((*map(unpadded, parts), label.tobytes()))
        return found

    plain = rows(task.batches(preprocessor, examples, 1))
    epochs = task.training_batches(preprocessor, examples, 32, seed=3)
    first, second = rows(epochs.one(0)), rows(epochs.one(1))
    assert len(plain) == len(examples)
    assert Counter(first) == Counter(second) == Counter(plain)
    assert first != second
    assert rows(task.training_batches(preprocessor, examples, 32, seed=3).one(1)) == second
    sizes = [len(target) for _, target in epochs.one(0).as_numpy_iterator()]
    assert len(sizes) == epochs.steps
    assert max(sizes) <= 32


def test_the_model_can_overfit_a_tiny_sample(trained):
    task = trained.task
    changes = dict.fromkeys(("dropout", "token_dropout", "wide_l2"), 0.0)
    # The network alone must be able to, without the linear paths beside it.
    changes |= {"wide": "none", "linear": False, "learning_rate": 0.01, "average": 0.0}
    known = {name: value for name, value in changes.items() if name in task.names()}
    settings = task.with_settings(trained.settings, known)
    examples = trained.splits.train[:OVERFIT_EXAMPLES]
    keras.utils.set_random_seed(1)
    preprocessor = task.adapt(settings, examples)
    model = task.build(settings, preprocessor, task.statistics(settings, preprocessor, examples))
    batches = task.batches(preprocessor, examples, OVERFIT_EXAMPLES)
    mode, bound = OVERFIT[task.metric]
    history = model.fit(batches, epochs=30 if mode == "max" else 300, verbose=0, shuffle=False)
    losses, splits = history.history["loss"], replace(trained.splits, train=examples)
    assert losses[-1] < losses[0]
    inference = task.inference_model(task.finish(model, settings, preprocessor, splits))
    score = task.evaluate(preprocessor, task.outputs(inference, preprocessor, examples), examples)
    reached = score[task.metric]
    assert (reached >= bound) if mode == "max" else (reached <= bound), reached


def test_the_saved_run_gives_the_answers_that_were_judged(trained):
    task, run = trained.task, trained.run
    model = run.model()
    preprocessor = run.preprocessor()
    outputs = task.outputs(task.inference_model(model), preprocessor, trained.splits.test)
    judged = run.read_json("metrics.json")
    again = task.evaluate(preprocessor, outputs, trained.splits.test)
    assert again == pytest.approx(judged["metrics"]["test"], rel=1e-4)
    assert set(judged["baseline"]) == {"name", "validation", "test"}
    assert task.metric in judged["baseline"]["test"]


def test_saving_and_loading_the_model_keeps_its_outputs(trained, tmp_path):
    first = trained.run.model()
    first.save(tmp_path / "again.keras")
    again = keras.saving.load_model(tmp_path / "again.keras", compile=False)
    preprocessor = trained.run.preprocessor()
    inputs = preprocessor.encode(preprocessor.to_wire(trained.raw))
    keras.tree.map_structure(
        np.testing.assert_array_equal,
        first.predict_on_batch(inputs),
        again.predict_on_batch(inputs),
    )


def test_the_search_space_begins_at_the_settings(trained):
    import keras_tuner

    hp = keras_tuner.HyperParameters()
    assert trained.task.search_space(hp, trained.settings) == trained.settings
    assert set(hp.values) >= {"cell", "layers", "units"}
    drawn = trained.task.with_settings(trained.settings, hp.values)
    assert drawn == trained.settings


def test_each_answer_reads_as_one_line(trained):
    answers = keras_answers(
        trained.task.inference_model(trained.run.model()), trained.run.preprocessor(), trained.raw
    )
    assert len(answers) == len(trained.raw)
    for raw, answer in zip(trained.raw, answers, strict=True):
        line = trained.task.readable(raw, answer)
        assert line.strip()
        assert len(line.splitlines()) == 1
        json.dumps(answer, allow_nan=False)


# ---- what was exported


def test_every_artefact_is_verified_within_the_bound(trained):
    artifacts = trained.exported["artifacts"]
    assert set(artifacts) == {"savedmodel", "onnx"}
    for item in artifacts.values():
        assert item["status"] == "verified"
        assert item["parity"] <= 1e-5
        assert item["agreement"] == 1.0
        assert item["examples"] > len(trained.task.edge_inputs(trained.run.preprocessor()))


LOAD_AS_TF1 = """
import sys
import numpy as np
import tensorflow as tf
wire = dict(np.load(sys.argv[2]))
with tf.compat.v1.Session(graph=tf.Graph()) as session:
    meta = tf.compat.v1.saved_model.loader.load(session, ["serve"], sys.argv[1])
    signature = meta.signature_def["serving_default"]
    feed = {signature.inputs[name].name: value for name, value in wire.items()}
    names = sorted(signature.outputs)
    got = session.run([signature.outputs[name].name for name in names], feed)
    ops = {node.op for node in meta.graph_def.node}
    for function in meta.graph_def.library.function:
        ops |= {node.op for node in function.node_def}
found = sorted(name for name in ops if "CudnnRNN" in name or "PyFunc" in name)
assert not found, found
# TensorFlow imports Keras by itself; none of Seqloom's own code may be needed.
loaded = {name.split(".")[0] for name in sys.modules}
needless = loaded & {"models", "pipelines", "serving", "tasks", "tuning", "seqloom"}
assert not needless, needless
np.savez(sys.argv[3], **dict(zip(names, got)))
"""


def test_savedmodel_answers_in_a_process_that_has_only_tensorflow(trained, tmp_path):
    # The loader of TensorFlow 1 is what TF Serving runs: signatures by tensor name, no objects.
    wire = trained.run.preprocessor().to_wire(trained.raw)
    plain = {k: v.astype(bytes) if v.dtype == object else v for k, v in wire.items()}
    np.savez(tmp_path / "wire.npz", **plain)
    fresh_python(
        LOAD_AS_TF1, trained.saved_model, tmp_path / "wire.npz", tmp_path / "got.npz", cwd=tmp_path
    )
    got = np.load(tmp_path / "got.npz", allow_pickle=True)
    assert sorted(got) == sorted(trained.expected)
    for name, want in trained.expected.items():
        if want.dtype == object:
            assert got[name].tolist() == want.tolist()
        else:
            assert distance(got[name], want) <= 1e-5


def test_savedmodel_cli_shows_the_signature(trained, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tensorflow.python.tools.saved_model_cli",
         "show", "--dir", str(trained.saved_model), "--all"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    shown = done.stdout
    assert "signature_def['serving_default']" in shown
    assert "tensorflow/serving/predict" in shown
    signature = trained.run.preprocessor().signature
    for part in ("inputs", "outputs"):
        for name in signature[part]:
            assert f"{part}['{name}']" in shown


def test_warmup_file_holds_requests_that_the_model_answers(trained):
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    path = trained.saved_model / "assets.extra" / "tf_serving_warmup_requests"
    logs = [
        prediction_log_pb2.PredictionLog.FromString(record)
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    ]
    assert 1 <= len(logs) <= 1000
    serve = tf.saved_model.load(str(trained.saved_model)).signatures["serving_default"]
    for log in logs:
        request = log.predict_log.request
        assert request.model_spec.name == trained.task.name
        assert request.model_spec.signature_name == "serving_default"
        inputs = {key: tf.constant(tf.make_ndarray(t)) for key, t in request.inputs.items()}
        sizes = {len(value) for value in inputs.values()}
        assert {len(value) for value in serve(**inputs).values()} == sizes


PREDICT = """
import json, sys
from serving import Predictor
answers = Predictor(sys.argv[1]).predict(json.loads(sys.argv[2]))
loaded = {name.split(".")[0] for name in sys.modules}
print(json.dumps({"answers": answers, "heavy": sorted(loaded & {"tensorflow", "keras"})}))
"""


def test_predictor_answers_as_keras_without_tensorflow(trained):
    raw = as_json(trained.raw)
    out = json.loads(fresh_python(PREDICT, trained.bundle, raw))
    assert out["heavy"] == []
    answers = trained.run.preprocessor().answers(trained.expected, trained.raw)
    assert_answers_equal(out["answers"], json.loads(as_json(answers)))


# ---- what is served


@contextmanager
def served(bundle, backend):
    command = [sys.executable, "-m", "seqloom", "serve", str(bundle)]
    command += ["--rest-port", "0", "--grpc-port", "0"]
    process = subprocess.Popen(
        [*command, "--backend", backend], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        yield json.loads(line)
    finally:
        process.terminate()
        rest, _ = process.communicate(timeout=30)
    assert rest == ""
    assert process.returncode == 0


@pytest.mark.parametrize("backend", ["onnx", "savedmodel"])
def test_served_answers_equal_keras(trained, backend):
    with served(trained.bundle, backend) as ready:
        assert set(ready) == {"rest_port", "grpc_port", "model"}
        assert ready["model"] == trained.task.name
        body = as_json({"instances": wire_rows(trained)}).encode()
        url = f"http://127.0.0.1:{ready['rest_port']}/v1/models/{ready['model']}:predict"
        with urllib.request.urlopen(urllib.request.Request(url, body), timeout=60) as reply:
            rows = json.load(reply)["predictions"]
    for i, row in enumerate(rows):
        want = {
            name: value[i].decode() if isinstance(value[i], bytes) else value[i].tolist()
            for name, value in trained.expected.items()
        }
        assert_answers_equal(row, want)
    assert len(rows) == len(trained.raw)
