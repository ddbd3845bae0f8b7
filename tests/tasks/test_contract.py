"""The contract: what every task must keep, from tiny data to a served answer.

Tasks join by being there: the module runs over ``tasks.names()``. The tests of new kinds and of
``seqloom new`` run it in a copy of the repository that holds more of them.
"""

import base64
import json
import subprocess
import sys
import urllib.request
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import tasks
from common.errors import DataError
from models.training import for_model, make_variables
from pipelines.program import DEFAULT, NEXT
from pipelines.ragged import as_lists, instances, split, take
from pipelines.responses import readable, respond
from reports.judged import matrix_of, read_judged, value
from serving.comparing import differences
from serving.errors import RequestError
from serving.predictor import OnnxModel
from serving.triton_python import write_python_models
from tasks.kinds.contract import DataOptions, Settings, Task
from tasks.stages.exporting import export
from tasks.stages.predicting import keras_program, keras_responses
from tasks.stages.run_directory import Run
from tasks.stages.training import train

ROOT = Path(tasks.__file__).resolve().parents[1]
SIZES = (200, 400, 1200)  # of generated data: examples are quicker with few, series need more rows
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
    expected: dict  # Keras's responses to ``raw``

    @property
    def saved_model(self) -> Path:
        return self.bundle / self.exported["artifacts"]["savedmodel"]["path"]

    def program(self, name=DEFAULT):
        return keras_program(self.task, self.run.model(), self.run.preprocessor(), name)

    @property
    def others(self) -> list[str]:
        return [name for name in self.run.preprocessor().programs if name != DEFAULT]


def smallest(task):
    """The first of ``SIZES`` that the task's generated data comes in."""
    for size in SIZES[:-1]:
        with suppress(DataError):
            data = DataOptions(f"synthetic:{size}")
            return data, task.load(data)
    data = DataOptions(f"synthetic:{SIZES[-1]}")
    return data, task.load(data)


# The same kind as `sentiment`, under a name of its own; and those that take minutes.
SLOW = {"classify", "intent", "tagging", "translation"}
# What takes many seconds a kind, fast tests do for one of texts and one of series alone.
REST = set(tasks.names()) - {"sentiment", "forecast"}


def all_tasks(slow):
    return [
        pytest.param(name, marks=pytest.mark.slow) if name in slow else name
        for name in tasks.names()
    ]


@pytest.fixture(scope="module", params=all_tasks(SLOW))
def trained(request, tmp_path_factory):
    task = tasks.get(request.param)
    settings = task.with_settings(task.settings, {**task.quick, "epochs": 1})
    run = Run(tmp_path_factory.mktemp(task.name) / "run")
    data, splits = smallest(task)
    train(task, data, settings, run, splits=splits)
    exported = export(run, run.path / "bundle", splits=splits)
    preprocessor = run.preprocessor()
    raw = [*preprocessor.raw(splits.validation[:5]), *preprocessor.edge_inputs()]
    expected = keras_responses(task, run.model(), preprocessor, raw)
    bundle = Path(exported["bundle"])
    return Trained(task, settings, splits, run, bundle, exported, raw, expected)


def assert_answers_equal(got, want, scale=None):
    """Words must be equal and numbers close, however deeply nested, in units of the largest."""
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


def row_of(responses, i):
    """The answer to one input as JSON has it; the only output by itself."""
    row = as_lists({name: rows[i] for name, rows in responses.items()})
    return row if len(row) > 1 else next(iter(row.values()))


def fresh_python(code, *arguments, cwd=ROOT):
    """Standard output of a new process; what it needs of this one it must import itself."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=cwd, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---- settings


def test_each_setting_has_one_group_and_a_meaning(trained):
    names = Counter(trained.task.names())
    assert not [name for name, count in names.items() if count > 1]
    for group in trained.task.groups.values():
        for field in group.settings():
            assert field.metadata["help"]


def test_settings_survive_json(trained):
    again = json.loads(json.dumps(trained.settings.to_dict()))
    assert trained.task.settings_of(again) == trained.settings


# ---- data and training


def test_batches_give_every_example_exactly_once(trained):
    preprocessor = trained.run.preprocessor()
    encoded = preprocessor.encoded(trained.splits.train)
    if encoded.carried:
        check_windows(encoded)
        return
    fields = getattr(encoded, "fields", {})

    def unpadded(name, part):
        padding = fields[name].padding if name in fields else 0
        while part.ndim and len(part) and np.all(part[-1] == padding):
            part = part[:-1]
        return part.tobytes()

    def rows(dataset):
        """Each example as bytes, the padding of its batch taken off."""
        found = []
        for parts in dataset.as_numpy_iterator():
            columns = [(n, x) for part in parts for n, x in sorted(part.items())]
            for row in zip(*(x for _, x in columns), strict=True):
                names = (name for name, _ in columns)
                found.append(tuple(map(unpadded, names, map(np.asarray, row))))
        return found

    plain = rows(encoded.batches(1))
    epochs = encoded.training_batches(32, seed=3)
    first, second = rows(epochs.one(0)), rows(epochs.one(1))
    assert len(plain) == len(encoded) == len(trained.splits.train)
    assert Counter(first) == Counter(second) == Counter(plain)
    assert first != second
    assert rows(preprocessor.encoded(trained.splits.train).training_batches(32, 3).one(1)) == second
    sizes = [len(next(iter(inputs.values()))) for inputs, *_ in epochs.one(0).as_numpy_iterator()]
    assert len(sizes) == epochs.steps
    assert max(sizes) <= 32


def check_windows(encoded):
    """Every target once an epoch, in other windows each time, as many batches as promised."""

    def seen(epochs, epoch):
        targets = [np.asarray(x) for _, parts in epochs.one(epoch) for x in parts.values()]
        assert len(targets) == epochs.steps
        values = np.concatenate([x[x != 0] for x in targets])
        assert len(values) == len(encoded)
        return np.bincount(values), [x.tobytes() for x in targets]

    epochs = encoded.training_batches(32, seed=3)
    (first, order), (second, other) = seen(epochs, 0), seen(epochs, 1)
    assert np.array_equal(first, second)
    assert order != other
    assert seen(encoded.training_batches(32, 3), 1)[1] == other


@pytest.mark.parametrize("trained", all_tasks(REST), indirect=True)
def test_the_model_can_overfit_a_tiny_sample(trained):
    task, bound = trained.task, trained.task.overfit
    settings = task.with_settings(trained.settings, bound.settings)
    examples = trained.splits.train[: bound.examples]
    keras.utils.set_random_seed(1)
    preprocessor = task.adapt(settings, examples)
    encoded = preprocessor.encoded(examples)
    model = task.build(settings, preprocessor, task.count(settings, preprocessor, encoded))
    batches = for_model(encoded.batches(bound.examples), model)
    make_variables(model, batches)
    history = model.fit(batches, epochs=bound.epochs, verbose=0, shuffle=False)
    losses, splits = history.history["loss"], replace(trained.splits, train=examples)
    assert losses[-1] < losses[0]
    model, preprocessor = task.after_training(model, settings, preprocessor, splits)
    responses = keras_responses(task, model, preprocessor, preprocessor.raw(examples))
    reached = task.evaluate(preprocessor, responses, examples)[task.metric.name]
    good = reached >= bound.bound if task.metric.mode == "max" else reached <= bound.bound
    assert good, reached


def test_the_saved_run_gives_the_answers_that_were_judged(trained):
    task, run, preprocessor = trained.task, trained.run, trained.run.preprocessor()
    raw = preprocessor.raw(trained.splits.test)
    responses = keras_responses(task, run.model(), preprocessor, raw)
    judged = run.read_json("metrics.json")
    again = task.evaluate(preprocessor, responses, trained.splits.test)
    assert again == pytest.approx(judged["metrics"]["test"], rel=1e-4)
    assert set(judged["baseline"]) == {"name", "validation", "test"}
    every = {metric.name for metric in task.metrics}
    for part in ("validation", "test"):  # whatever may decide is known of the baseline too
        assert every <= set(judged["metrics"][part])
        assert every <= set(judged["baseline"][part])
    with (run.path / "history.csv").open() as file:
        assert task.watched.key in file.readline().strip().split(",")


def test_saving_and_loading_the_model_keeps_its_answers(trained, tmp_path):
    first = trained.run.model()
    first.save(tmp_path / "again.keras")
    again = keras.saving.load_model(tmp_path / "again.keras", compile=False)
    preprocessor = trained.run.preprocessor()
    found = keras_responses(trained.task, again, preprocessor, trained.raw)
    assert differences(found, trained.expected) == {"parity": 0.0, "agreement": 1.0}


@pytest.mark.parametrize("trained", all_tasks(REST), indirect=True)
def test_another_process_loads_the_run(trained):
    """It knows only the layers that loading the run imports."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom tasks.stages.run_directory import Run\n"
        "print(Run(Path(sys.argv[1])).model().count_params())"
    )
    printed = fresh_python(code, trained.run.path).strip().splitlines()[-1]
    assert int(printed) == trained.run.model().count_params()


def test_the_search_space_begins_at_the_settings(trained):
    import keras_tuner

    hp = keras_tuner.HyperParameters()
    assert trained.task.search_space(hp, trained.settings) == trained.settings
    assert set(hp.values) >= {"cell", "layers", "units"}
    assert trained.task.with_settings(trained.settings, hp.values) == trained.settings


def test_a_trial_which_has_no_scores_yet_has_its_remarks_too(trained):
    for metrics in (trained.run.read_json("metrics.json")["metrics"], {}):
        remarks = trained.task.remarks(trained.run.preprocessor(), metrics, None)
        assert all(isinstance(line, str) and line.strip() for line in remarks)


def test_judged_examples_add_up_to_the_reported_scores(trained):
    judged = read_judged(trained.run.path / "judged")
    if judged is None:
        pytest.skip(f"{trained.task.kind} does not tell how each example was answered")
    result = trained.run.read_json("metrics.json")
    assert trained.task.metric.name in judged.examples[0].sums
    for name in judged.examples[0].sums:
        form = judged.forms.get(name, "")
        sides = [[one.sums for one in judged.examples], [one.baseline for one in judged.examples]]
        for who, rows in zip((result["metrics"], result["baseline"]), sides, strict=True):
            if name in who["test"] and all(name in row for row in rows):
                found = value(matrix_of(rows, name, form).sum(0), form)
                # Nothing answered where something was wanted: no ratio, and reported as 0.
                assert np.nan_to_num(found) == pytest.approx(who["test"][name], rel=1e-4, abs=1e-5)


def test_each_answer_reads_as_one_line(trained):
    answers = readable(trained.program(), trained.run.preprocessor(), trained.raw)
    assert len(answers) == len(trained.raw)
    for raw, answer in zip(trained.raw, answers, strict=True):
        line = trained.task.format_answer(raw, answer)
        assert line.strip()
        assert len(line.splitlines()) == 1
        json.dumps(answer, allow_nan=False)


def test_an_answer_does_not_depend_on_what_it_is_batched_with(trained):
    program, preprocessor = trained.program(), trained.run.preprocessor()
    ask = partial(respond, program.program, preprocessor.to_request, program.run, trained.raw)
    found = differences(ask(batch_size=1), trained.expected)
    assert found["parity"] <= ANSWERS_APART
    assert found["agreement"] == 1.0


def test_no_input_has_no_answer(trained):
    request = trained.run.preprocessor().to_request(trained.raw[:1])
    response = trained.program().run({name: array[:0] for name, array in request.items()})
    outputs = trained.program().signature["outputs"]
    assert {name: len(array) for name, array in response.items()} == dict.fromkeys(outputs, 0)


# ---- what was exported


def test_every_artefact_is_verified_within_the_bound(trained):
    artifacts = trained.exported["artifacts"]
    assert set(artifacts) == {"savedmodel", "onnx"}
    for item in artifacts.values():
        assert item["status"] == "verified"
        assert item["parity"] <= 1e-5
        assert item["agreement"] == 1.0
        assert item["examples"] > len(trained.run.preprocessor().edge_inputs())
        assert set(item.get("programs", {})) == set(trained.others)


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


@pytest.mark.parametrize("trained", all_tasks(REST), indirect=True)
def test_savedmodel_answers_in_a_process_that_has_only_tensorflow(trained, tmp_path):
    # The loader of TensorFlow 1 is what TF Serving runs: signatures by tensor name, no objects.
    wire = trained.run.preprocessor().to_request(trained.raw)
    plain = {k: v.astype(bytes) if v.dtype == object else v for k, v in wire.items()}
    np.savez(tmp_path / "wire.npz", **plain)
    fresh_python(
        LOAD_AS_TF1, trained.saved_model, tmp_path / "wire.npz", tmp_path / "got.npz", cwd=tmp_path
    )
    got = dict(np.load(tmp_path / "got.npz", allow_pickle=True))
    rows = split(got, trained.program().program.fields)
    found = {name: [row[name] for row in rows] for name in got}
    want = {name: list(rows) for name, rows in trained.expected.items()}
    assert sorted(found) == sorted(want)
    compared = differences(found, want)
    assert compared["parity"] <= 1e-5
    assert compared["agreement"] == 1.0


@pytest.mark.parametrize("trained", all_tasks(REST), indirect=True)
def test_savedmodel_cli_shows_the_signature(trained, capsys):
    """What `saved_model_cli show --all` prints; a process of its own would take seconds."""
    from tensorflow.python.tools.saved_model_cli import _show_all

    _show_all(str(trained.saved_model))
    shown = capsys.readouterr().out
    assert "tensorflow/serving/predict" in shown
    for program in trained.run.preprocessor().programs:
        assert f"signature_def['{program}']" in shown
        signature = trained.program(program).signature
        for part in ("inputs", "outputs"):
            for name in signature[part]:
                assert f"{part}['{name}']" in shown


@pytest.mark.parametrize("trained", all_tasks(REST), indirect=True)
def test_warmup_file_holds_requests_that_the_model_answers(trained):
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    path = trained.saved_model / "assets.extra" / "tf_serving_warmup_requests"
    logs = [
        prediction_log_pb2.PredictionLog.FromString(record)
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    ]
    assert 1 <= len(logs) <= 1000
    signatures = tf.saved_model.load(str(trained.saved_model)).signatures
    names = set()
    for log in logs:
        request = log.predict_log.request
        assert request.model_spec.name == trained.task.name
        serve = signatures[request.model_spec.signature_name]
        names.add(request.model_spec.signature_name)
        inputs = {key: tf.constant(tf.make_ndarray(t)) for key, t in request.inputs.items()}
        known = trained.program(request.model_spec.signature_name).signature["inputs"]
        defaults = {n: tf.constant([s["default"]], s["dtype"]) for n, s in known.items()
                    if "default" in s}  # fmt: skip
        sizes = {len(value) for value in inputs.values()}
        assert {len(value) for value in serve(**{**defaults, **inputs}).values()} == sizes
    assert names == {DEFAULT, *trained.others}


PREDICT = """
import json, sys
from serving import Predictor
answers = Predictor(sys.argv[1]).predict(json.load(open(sys.argv[2])))
loaded = {name.split(".")[0] for name in sys.modules}
print(json.dumps({"answers": answers, "heavy": sorted(loaded & {"tensorflow", "keras"})}))
"""


def test_predictor_answers_as_keras_without_tensorflow(trained, tmp_path):
    raw = tmp_path / "raw.json"  # sound is longer than arguments may be
    raw.write_text(as_json(trained.raw))
    out = json.loads(fresh_python(PREDICT, trained.bundle, raw))
    assert out["heavy"] == []
    answers = trained.run.preprocessor().answers(trained.expected, trained.raw)
    assert_answers_equal(out["answers"], json.loads(as_json(answers)))


# ---- what is served


@contextmanager
def served(bundle, backend):
    command = [sys.executable, "-m", "seqloom", "serve", str(bundle)]
    command += ["--rest-port", "0", "--grpc-port", "0"]
    # ONNX is what is served unless told.
    command += ["--backend", backend] if backend != "onnx" else []
    process = subprocess.Popen(
        command, cwd=ROOT, text=True,
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


def posted(ready, path, body):
    url = f"http://127.0.0.1:{ready['rest_port']}/v1/{path}"
    with urllib.request.urlopen(urllib.request.Request(url, body.encode()), timeout=60) as reply:
        return json.load(reply)


def test_served_answers_equal_keras(trained):
    check_served(trained, "onnx")


@pytest.mark.parametrize("trained", all_tasks(REST), indirect=True)
def test_answers_served_by_a_savedmodel_equal_keras(trained):
    check_served(trained, "savedmodel")


def check_served(trained, backend):
    with served(trained.bundle, backend) as ready:
        assert set(ready) == {"rest_port", "grpc_port", "model"}
        assert ready["model"] == trained.task.name
        ask = partial(posted, ready, f"models/{ready['model']}:predict")
        sent = instances(trained.run.preprocessor().to_request(trained.raw))
        rows = ask(as_json({"instances": sent}))["predictions"]
        others = {name: replayed(trained, name, ask) for name in trained.others}
    assert len(rows) == len(trained.raw)
    for i, row in enumerate(rows):
        assert_answers_equal(row, row_of(trained.expected, i))
    for name, (got, want) in others.items():
        assert_answers_equal(got, want), name


def replayed(trained, name, ask):
    """What a server and Keras answer to the examples of another program, states sent back."""
    program = trained.program(name)
    specs = program.signature["outputs"]

    def run(request):
        body = {"signature_name": name, "inputs": {k: plain_list(v) for k, v in request.items()}}
        outputs = ask(as_json(body))["outputs"]
        outputs = outputs if len(specs) > 1 else {next(iter(specs)): outputs}
        return {k: typed(v, specs[k]["dtype"]) for k, v in outputs.items()}

    request = trained.run.preprocessor().to_request(trained.raw[:1])
    got, want = program.replay(run, request), program.replay(program.run, request)
    return [[as_lists(r) for r in each] for each in (got, want)]


def plain_list(array):
    if array.dtype == object and any(b"\0" in one for one in array.ravel()):  # files, no text
        return [{"b64": base64.b64encode(one).decode()} for one in array]
    return as_lists({"it": array})["it"]


def typed(value, dtype):
    if dtype == "string":
        return np.array([x.encode() for x in np.ravel(value)], object).reshape(np.shape(value))
    return np.array(value, dtype)


def test_a_stream_keeps_the_states(trained):
    if "step" not in trained.others:
        pytest.skip(f"{trained.task.kind} has no steps")
    program = trained.program("step")
    request = trained.run.preprocessor().to_request(trained.raw[:1])
    want = [
        {name: array for name, array in response.items() if not name.endswith(NEXT)}
        for response in program.replay(program.run, request)
    ]
    with served(trained.bundle, "onnx") as ready:
        stream = posted(ready, f"models/{ready['model']}:open", "{}")["stream"]
        for example, expected in zip(program.program.examples(request), want, strict=True):
            body = as_json({"inputs": {k: plain_list(v) for k, v in example.items()}})
            outputs = posted(ready, f"streams/{stream}:step", body)["outputs"]
            outputs = outputs if len(expected) > 1 else {next(iter(expected)): outputs}
            assert_answers_equal(outputs, as_lists(expected))
        assert posted(ready, f"streams/{stream}:close", "{}")["steps"] == len(want)


def assert_close(got, want):
    """Tensors as Triton's clients get them: text equal, numbers close."""
    assert got.keys() == want.keys()
    for name, array in want.items():
        if array.dtype == object:
            assert got[name].tolist() == array.tolist()
        else:
            scale = max(1.0, float(np.max(np.abs(array), initial=0, where=np.isfinite(array))))
            np.testing.assert_allclose(got[name], array, atol=ANSWERS_APART * scale, rtol=0)


def test_a_model_of_triton_answers_every_signature_as_the_predictor(trained, tmp_path):
    """Each row as a request of its own, all in one batch; steps as a sequence."""
    pytest.importorskip("tritonclient.grpc.model_config_pb2")
    from triton_fake import LocalTriton, TritonError, as_sent

    onnx = trained.bundle / trained.exported["artifacts"]["onnx"]["path"]
    programs = OnnxModel(onnx, threads=1).programs
    names = write_python_models(tmp_path, "m", programs, onnx)
    request = trained.run.preprocessor().to_request(trained.raw)
    for name, loaded in zip(names, programs.values(), strict=True):
        triton, fields = LocalTriton(tmp_path / name), loaded.program.fields
        if loaded.states:
            first = {n: x[:1] for n, x in request.items()}
            want = loaded.replay(loaded.run, first)
            for t, example in enumerate(loaded.program.examples(first)):
                got = triton.ask(as_sent(example), sequence=5, start=not t, end=t == len(want) - 1)
                assert not isinstance(got, TritonError), got.message()
                kept = {
                    n: x for n, x in want[t].items() if n.removesuffix(NEXT) not in loaded.states
                }
                assert_close(got, as_sent(kept))
            assert not triton.model.sequences.open
        else:
            (example,) = loaded.program.examples(request)
            rows = [take(example, slice(i, i + 1), fields) for i in range(len(trained.raw))]
            answers = triton.batch([(as_sent(row), {}) for row in rows])
            for row, got in zip(rows, answers, strict=True):
                try:
                    want = as_sent(loaded.run(row))
                except RequestError as refused:  # such as sound of no sample, which pads a batch
                    want = refused.message
                if isinstance(want, str):
                    assert got.message() == want
                else:
                    assert not isinstance(got, TritonError), got.message()
                    assert_close(got, want)
        triton.close()
