"""Exports compared with Keras: what is published, what is refused, and what ONNX holds."""

import json
import re
from types import SimpleNamespace

import keras
import numpy as np
import onnx
import onnxruntime
import pytest

import serving.export
from models.metric import Metric
from models.text_classification import text_classifier
from models.text_classification_config import TextConfig
from pipelines.program import DEFAULT, KerasCore, LoadedProgram
from pipelines.ragged import Field
from pipelines.responses import respond
from pipelines.text import PAD, TextEncoder
from pipelines.text_classification import TextClassificationPreprocessor
from serving.bundle import checksums, read_manifest, size_on_disk
from serving.comparing import PARITY_BOUND, HeldOut, Reference, _moved, judge
from serving.errors import ServingError
from serving.export import ExportJob, ExportOptions, export_bundle, right_padded
from serving.native_onnx import converter, export_onnx
from serving.predictor import Predictor
from serving.steps import StepModel
from serving.tensorrt_engine import gpu_reason, load_library
from serving.verify import verify_bundle

TEXTS = ["a good film", "a bad film", "not bad at all , really", "bad", "good", "", "\u16a0"] * 5
LABELS = ["good", "bad", "good", "bad", "good", "bad", "good"] * 5
ACCURACY = Metric("accuracy", "max")


def classifier(cell="gru", layers=1, bidirectional=True, pooling="max"):
    """An untrained model of few units: its answers are as good as any to compare."""
    keras.utils.set_random_seed(1)
    encoder = TextEncoder()
    pairs = zip(TEXTS, LABELS, strict=True)
    examples = [SimpleNamespace(text=text, label=label, parts={}) for text, label in pairs]
    preprocessor = TextClassificationPreprocessor.adapt(encoder, examples)
    config = TextConfig(
        cell=cell, layers=layers, bidirectional=bidirectional, pooling=pooling,
        units=3, embedding_dim=4, wide="none",
    )  # fmt: skip
    network = text_classifier(config, len(preprocessor.encoder.vocabulary), 2)
    probabilities = keras.layers.Softmax(name="probabilities")(network.output["answer"])
    return keras.Model(network.input, {"probabilities": probabilities}), preprocessor


def keras_program(model, preprocessor):
    return LoadedProgram(preprocessor.programs[DEFAULT], {"model": KerasCore(model)})


def responses(model, preprocessor, raw=TEXTS):
    program = keras_program(model, preprocessor)
    return respond(program.program, preprocessor.to_request, program.run, raw)


def reference(exported, raw=TEXTS, score=None, metric=ACCURACY):
    programs = {DEFAULT: keras_program(*exported[:2])}
    return Reference(programs, exported[1], HeldOut(raw, score, metric))


@pytest.fixture(scope="module")
def exported():
    model, preprocessor = classifier()
    return model, preprocessor, responses(model, preprocessor)


def accuracy(outputs):
    return float(np.mean([a.decode() == b for a, b in zip(outputs["label"], LABELS, strict=True)]))


def export(exported, bundle, formats=("onnx",), precisions=("fp32",), max_loss=0.01, **manifest):
    model, preprocessor, _ = exported
    return export_bundle(
        {"model": model}, preprocessor, bundle, ExportOptions(formats, precisions, max_loss),
        HeldOut(TEXTS, accuracy, ACCURACY), {"name": "m", **manifest},
    )  # fmt: skip


@pytest.fixture(scope="module")
def published(exported, tmp_path_factory):
    """A bundle with both formats, and what its export returned."""
    bundle = tmp_path_factory.mktemp("bundle")
    return bundle, export(exported, bundle, ("onnx", "savedmodel", "onnx"), task="sentiment")


@pytest.fixture
def cheap(exported, monkeypatch):
    """Replaces the writer of ``onnx`` by one that needs no tracing; gives its way to answer."""
    _, _, expected = exported
    order = {text.encode(): i for i, text in enumerate(TEXTS)}

    def answer(request, name):
        rows = [order[text] for text in request["text"]]
        return {name: value[rows] for name, value in expected.items()}

    writer = SimpleNamespace(answer=answer)

    def write(job, path, precision):
        path.mkdir()
        (path / "model.onnx").write_bytes(b"graph")
        return job.verified(writer.answer, "onnx", precision)

    monkeypatch.setitem(serving.export.WRITERS, "onnx", write)
    return writer


def files(bundle):
    return {
        str(path.relative_to(bundle)): path.read_bytes()
        for path in bundle.rglob("*")
        if path.is_file()
    }


# ---- bundles


def test_each_export_is_a_version_of_its_own(exported, tmp_path, cheap):
    assert [export(exported, tmp_path)["version"] for _ in range(3)] == [1, 2, 3]
    assert sorted(path.name for path in (tmp_path / "onnx").iterdir()) == ["1", "2", "3"]
    assert read_manifest(tmp_path)["artifacts"]["onnx"]["path"] == "onnx/3"


def test_manifest_says_where_each_artefact_is_and_how_exact(exported, published):
    bundle, returned = published
    on_disk = read_manifest(bundle)
    assert on_disk == json.loads(json.dumps({"format": 1, **returned}))
    assert (on_disk["name"], on_disk["task"], on_disk["version"]) == ("m", "sentiment", 1)
    assert on_disk["signature"] == exported[1].signature
    assert on_disk["signatures"] == {"serving_default": exported[1].signature}
    assert sorted(on_disk["artifacts"]) == ["onnx", "savedmodel"]
    for name, item in on_disk["artifacts"].items():
        assert item["path"] == f"{name}/1"
        assert item["status"] == "verified"
        assert 0 <= item["parity"] <= PARITY_BOUND
        assert item["agreement"] == 1.0
        assert item["examples"] == len(TEXTS)
        assert sorted(item["latency_ms"]) == ["1", "32"]
        assert all(ms > 0 for ms in item["latency_ms"].values())
        assert item["sha256"] == checksums(bundle / item["path"])
        assert item["bytes"] == size_on_disk(bundle / item["path"])
    saved = on_disk["artifacts"]["savedmodel"]["sha256"]
    assert {"saved_model.pb", "assets.extra/tf_serving_warmup_requests"} <= set(saved)


def test_a_writer_that_fails_leaves_the_old_version_and_no_other(
    exported, tmp_path, monkeypatch, cheap
):
    export(exported, tmp_path, note="old")
    before = files(tmp_path)

    def half(job, path, precision):
        path.mkdir()
        (path / "saved_model.pb").write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(serving.export.WRITERS, "savedmodel", half)
    # The good artefact is written first, so that there is something to take back.
    with pytest.raises(OSError, match="No space"):
        export(exported, tmp_path, ("onnx", "savedmodel"), note="new")
    assert files(tmp_path) == before
    assert [path.name for path in tmp_path.glob("*/*")] == ["1"]


def with_nan(probabilities):
    """NaN in the last row only, which a comparison by ``max`` alone would pass over."""
    wrong = probabilities.copy()
    wrong[-1] = np.nan
    return wrong


@pytest.mark.parametrize(
    ("wrong", "shown"),
    [(lambda p: p + np.float32(2 * PARITY_BOUND), "2e-05"), (with_nan, "nan")],
    ids=["too far", "not a number"],
)
def test_an_artefact_that_differs_from_keras_is_refused(exported, tmp_path, cheap, wrong, shown):
    export(exported, tmp_path)
    before, right = files(tmp_path), cheap.answer

    def differs(*asked):
        outputs = right(*asked)
        return {**outputs, "probabilities": wrong(outputs["probabilities"])}

    cheap.answer = differs
    with pytest.raises(ServingError, match=rf"onnx export differs from Keras by {shown}"):
        export(exported, tmp_path)
    assert files(tmp_path) == before


@pytest.mark.parametrize("formats", [("onnx", "pickle"), ("tflite",), ()])
def test_an_unknown_format_is_refused_before_anything_is_written(exported, tmp_path, formats):
    with pytest.raises(ServingError, match="use --format with savedmodel or onnx or tensorrt"):
        export(exported, tmp_path / "new", formats)
    assert not (tmp_path / "new").exists()


def test_compare_measures_numbers_and_counts_equal_words(exported):
    expected = exported[2]
    raw = TEXTS[:4]  # too few to time a call of 32

    def runner(request, name):
        rows = [raw.index(text.decode()) for text in request["text"]]
        labels = np.array([b"other" if i == 0 else expected["label"][i] for i in rows], object)
        return {
            "label": labels,
            "probabilities": expected["probabilities"][rows] - np.float32(0.25),
        }

    report = reference(exported, raw, lambda _: 0.5, Metric("f1", "max")).compare(runner)
    assert report["f1"] == 0.5
    assert report["parity"] == pytest.approx(0.25, abs=1e-6)
    assert report["agreement"] == 0.75
    assert report["examples"] == 4
    assert list(report["latency_ms"]) == ["1"]


def test_an_output_that_is_missing_is_no_export(exported):
    with pytest.raises(ServingError, match="does not answer probabilities"):
        reference(exported, TEXTS[:1]).compare(lambda *_: {"label": exported[2]["label"][:1]})


def test_swapped_labels_are_refused_though_the_numbers_are_right(exported, tmp_path, cheap):
    right = cheap.answer

    def swapped(*asked):
        outputs = right(*asked)
        return {**outputs, "label": np.where(outputs["label"] == b"good", b"bad", b"good")}

    cheap.answer = swapped
    with pytest.raises(ServingError, match="other labels than Keras"):
        export(exported, tmp_path)
    assert not list(tmp_path.glob("onnx/*"))


# ---- masks, and converters of a user's own


def job_of(cores=None, calls=None, **reference):
    """An export as its writers see it, of what they read here."""
    options = ExportOptions()
    return ExportJob(cores or {}, SimpleNamespace(**reference), calls or {}, None, options, "m")


def test_the_text_kinds_graph_knows_its_masks(exported, tmp_path):
    model, preprocessor, _ = exported
    known = right_padded(preprocessor)
    assert known == {"tokens": PAD}
    export_onnx(model, tmp_path / "model.onnx", right_padded=known)
    kinds = {node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node}
    assert "CumSum" not in kinds
    export_onnx(model, tmp_path / "any.onnx")
    assert "CumSum" in {node.op_type for node in onnx.load(tmp_path / "any.onnx").graph.node}


def test_padding_that_is_not_unique_is_refused():
    fields = {"tokens": Field(0, unique=True), "others": Field(0)}
    preprocessor = SimpleNamespace(programs={DEFAULT: SimpleNamespace(fields=fields)})
    good = {"tokens": np.array([[1, 2, 0], [0, 0, 0]]), "others": np.array([[0, 1]])}
    assert job_of(calls={"model": [good]}, preprocessor=preprocessor).right_padded == {"tokens": 0}
    bad = {**good, "tokens": np.array([[1, 0, 2]])}
    with pytest.raises(ServingError, match=r"'tokens'.*unique=True"):
        _ = job_of(calls={"model": [good, bad]}, preprocessor=preprocessor).right_padded


class Sums(keras.layers.Layer):
    """A layer whose converter forgets the mask."""

    def call(self, x, mask=None):
        return keras.ops.sum(x if mask is None else keras.ops.where(mask[..., None], x, 0.0), 1)


def test_parity_of_an_own_layer_names_what_usually_causes_it(exported):
    @converter(Sums)
    def sums(graph, layer, x, mask=None):
        return graph.reduce("ReduceSum", x, [1])

    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = keras.layers.Embedding(9, 4, mask_zero=True)(tokens)
    own = keras.Model({"tokens": tokens}, {"y": Sums(name="mine")(x)})
    answers = {"compare": lambda run: {"parity": 0.3, "agreement": 1.0}, "score": None}
    with pytest.raises(ServingError, match=r"'mine' \(Sums\) is your own: .*padded steps.*mask"):
        job_of({"model": own}, **answers).verified(None, "onnx", "fp32")
    with pytest.raises(ServingError) as plain:
        job_of({"model": exported[0]}, **answers).verified(None, "onnx", "fp32")
    assert "your own" not in str(plain.value)


# ---- precisions


def scored(score, mode="max"):
    """A reference that has that score, as far as ``judge`` reads it."""
    return SimpleNamespace(score=score, held=HeldOut([], None, Metric("metric", mode)))


@pytest.mark.parametrize(
    ("mode", "score", "refused"),
    [("max", 0.7921, False), ("max", 0.79, True), ("max", 0.9, False),
     ("min", 0.807, False), ("min", 0.81, True), ("min", 0.5, False)],
)  # fmt: skip
def test_a_lower_precision_may_lose_one_hundredth_of_the_metric(mode, score, refused):
    found = {"parity": 0.02, "metric": score}  # Keras has 0.8: 0.792 and 0.808 are the borders
    if refused:
        with pytest.raises(ServingError, match=r"onnx at int8 .* Keras's 0\.8; .*--max-loss"):
            judge("onnx", "int8", found, scored(0.8, mode), 0.01)
    else:
        judge("onnx", "int8", found, scored(0.8, mode), 0.01)


@pytest.mark.parametrize(
    ("parity", "rounding", "most"),
    [(3e-5, 1e-5, None), (3e-5, 5e-6, "2e-05"), (3e-5, 0.0, "1e-05"), (2e-3, 1.0, "1e-05")],
)
def test_a_network_that_blows_rounding_up_may_differ_by_it(parity, rounding, most):
    found = {"parity": parity, "agreement": 1.0}
    asked = SimpleNamespace(rounding=rounding)
    if most is None:
        judge("onnx", "fp32", found, asked, 0.01)
    else:
        with pytest.raises(ServingError, match=f"by {parity:.2g}, more than {most};"):
            judge("onnx", "fp32", found, asked, 0.01)


def test_rounding_is_what_inputs_a_unit_apart_lead_to(exported):
    assert reference(exported).rounding == 0.0  # its inputs are whole numbers
    asked = []

    def core(arrays):
        asked.append(arrays)
        return arrays

    core.inputs, core.states = ("x", "ids"), {}
    sent = {"x": np.ones(1000, np.float32), "ids": np.arange(3)}
    got = _moved(core)(sent)
    assert got is asked[0]
    assert got["ids"] is sent["ids"]
    assert set(got["x"].tolist()) == {1 - 2**-23, 1 + 2**-23}


def test_each_precision_has_a_place_and_the_first_the_plain_name(exported, tmp_path):
    manifest = export(exported, tmp_path, ("onnx",), ("int8", "fp16", "fp32"), max_loss=1.0)
    artifacts = manifest["artifacts"]
    assert {key: item["precision"] for key, item in artifacts.items()} == {
        "onnx": "int8", "onnx_fp16": "fp16", "onnx_fp32": "fp32",
    }  # fmt: skip
    for item in artifacts.values():
        assert (tmp_path / item["path"] / "model.onnx").is_file()
        assert 0 <= item["accuracy"] <= 1
    assert artifacts["onnx_fp32"]["accuracy"] == accuracy(exported[2])
    # How far int8 is off depends on the instructions that a processor has for it.
    exact, half = (artifacts[key]["parity"] for key in ("onnx_fp32", "onnx_fp16"))
    assert exact <= PARITY_BOUND
    assert exact < half < 1e-2
    assert "latency_ms" in manifest["keras"]


def test_a_refused_precision_publishes_nothing(exported, tmp_path, monkeypatch):
    monkeypatch.setattr(Reference, "compare", lambda *_: {"parity": 0.0, "accuracy": 0.0})
    with pytest.raises(ServingError, match="worse than Keras's"):
        export(exported, tmp_path, ("onnx",), ("int8",))
    assert not list(tmp_path.glob("onnx*"))


def test_a_format_without_that_precision_is_refused():
    with pytest.raises(ServingError, match="'tensorrt' has no precision int8; use --precision"):
        ExportOptions(("onnx", "tensorrt"), ("int8",))
    mixed = ExportOptions(("savedmodel", "onnx", "tensorrt"), ("fp32", "int8", "fp16"))
    assert [key for key, _, _ in mixed.artifacts()] == [
        "savedmodel", "onnx", "onnx_int8", "onnx_fp16", "tensorrt", "tensorrt_fp16",
    ]  # fmt: skip


# ---- cores


def test_a_core_that_is_not_there_has_no_steps(published):
    assert published[1]["artifacts"]["onnx"]["cores"] == ["model"]
    with pytest.raises(ServingError, match=r"step\.onnx is not there"):
        StepModel(published[0] / "onnx" / "1" / "step.onnx")


# ---- ONNX


@pytest.fixture(scope="module", params=["gru", "lstm", "simple_rnn"])
def onnx_file(request, tmp_path_factory):
    model, _ = classifier(request.param)
    path = tmp_path_factory.mktemp(request.param) / "model.onnx"
    export_onnx(model, path)
    return model, path


def test_onnx_passes_the_checker_and_is_alone_in_its_folder(onnx_file):
    _, path = onnx_file
    onnx.checker.check_model(onnx.load(path), full_check=True)
    assert [file.name for file in path.parent.iterdir()] == ["model.onnx"]


def test_onnx_has_kerass_names_and_dynamic_batch_and_time(onnx_file):
    model, path = onnx_file
    graph = onnx.load(path).graph
    (tokens,), (output,) = graph.input, graph.output
    assert tokens.name == model.inputs[0].name == "tokens"
    assert output.name == "probabilities"
    assert tokens.type.tensor_type.elem_type == onnx.TensorProto.INT32
    assert output.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    batch, time = tokens.type.tensor_type.shape.dim
    assert not batch.HasField("dim_value")
    assert not time.HasField("dim_value")
    out_batch, classes = output.type.tensor_type.shape.dim
    assert not out_batch.HasField("dim_value")
    assert classes.dim_value in (0, 2)


def test_onnx_equals_keras_at_any_batch_and_length(onnx_file):
    model, path = onnx_file
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    for batch, time in ((1, 1), (3, 7), (2, 50)):
        tokens = random.integers(1, 8, (batch, time)).astype(np.int32)
        tokens[-1, 1 + time // 2 :] = 0  # a row that is padded
        (got,) = session.run(["probabilities"], {"tokens": tokens})
        want = model.predict_on_batch({"tokens": tokens})["probabilities"]
        np.testing.assert_allclose(got, want, atol=PARITY_BOUND)


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("pooling", ["last", "mean", "max", "attention"])
@pytest.mark.slow
def test_every_pooling_and_direction_exports(tmp_path, pooling, bidirectional):
    model, preprocessor = classifier("lstm", 2, bidirectional, pooling)
    manifest = export((model, preprocessor, None), tmp_path, ("savedmodel", "onnx"))
    assert all(item["parity"] <= PARITY_BOUND for item in manifest["artifacts"].values())


def test_several_outputs_keep_their_own_names(tmp_path):
    # In an order that is not the alphabet's: a name must go with its tensor, not with its place.
    x = keras.Input((None, 2), name="x")
    state = keras.layers.GRU(3)(x)
    outputs = {
        "zeta": keras.layers.Dense(1)(state),
        "alpha": keras.layers.Dense(4)(state),
        "middle": state,
    }
    model = keras.Model({"x": x}, outputs)
    export_onnx(model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(
        tmp_path / "model.onnx", providers=["CPUExecutionProvider"]
    )
    assert sorted(output.name for output in session.get_outputs()) == ["alpha", "middle", "zeta"]
    data = np.random.default_rng(0).normal(size=(2, 5, 2)).astype(np.float32)
    want = model.predict_on_batch({"x": data})
    for name, got in zip(sorted(want), session.run(sorted(want), {"x": data}), strict=True):
        np.testing.assert_allclose(got, want[name], atol=PARITY_BOUND)


def test_a_precision_that_is_not_offered_is_refused(exported, tmp_path):
    with pytest.raises(ServingError, match="precision 'int4' is not one of"):
        export_onnx(exported[0], tmp_path / "model.onnx", precision="int4")
    assert not list(tmp_path.iterdir())


def test_an_onnx_export_that_fails_keeps_the_file_that_was_there(exported, tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"old")

    def refuse(proto):
        raise onnx.checker.ValidationError("broken")

    monkeypatch.setattr(onnx.checker, "check_model", refuse)
    with pytest.raises(onnx.checker.ValidationError):
        export_onnx(exported[0], path)
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


# ---- the predictor's own refusals


def test_predictor_names_the_version_that_is_missing(published):
    with pytest.raises(ServingError, match=r"onnx/7/model\.onnx is not there"):
        Predictor(published[0], version=7)


def test_predictor_refuses_a_broken_model_by_name(exported, tmp_path, cheap):
    export(exported, tmp_path)
    exported[1].save(tmp_path / "onnx" / "1")
    with pytest.raises(ServingError, match=r"model\.onnx cannot be loaded"):
        Predictor(tmp_path)


def test_predictor_answers_as_keras_and_nothing_to_nothing(exported, published):
    predictor = Predictor(published[0], threads=1)
    assert (predictor.name, predictor.version) == ("m", 1)
    assert predictor.predict([]) == []
    answers = predictor.predict([text.encode() for text in TEXTS])
    for answer, want in zip(answers, exported[1].answers(exported[2], TEXTS), strict=True):
        assert answer["label"] == want["label"]
        assert answer["probabilities"] == pytest.approx(want["probabilities"], abs=PARITY_BOUND)


# ---- TensorRT and Triton


def test_plans_are_built_and_said_not_to_have_run(exported, tmp_path):
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")
    reason = gpu_reason()
    manifest = export(exported, tmp_path, ("onnx", "tensorrt", "triton"), ("fp32", "fp16"))
    for key in ("tensorrt", "tensorrt_fp16"):
        item = manifest["artifacts"][key]
        place = tmp_path / item["path"]
        build = json.loads((place / "build.json").read_text())
        assert item["status"] == ("built" if reason else "verified")
        assert item.get("reason") == reason
        assert build["precision"] == item["precision"]
        assert (place / "model.plan").stat().st_size == build["bytes"]
        with np.load(place / "verification.npz") as stored:
            assert stored["tokens"].shape[0] == 32
    rtx = load_library().__name__ != "tensorrt"  # whose plans Triton does not load
    assert manifest["artifacts"]["triton"]["models"] == ["m", "m_onnx"] + ["m_tensorrt"] * (not rtx)
    assert ("plans of tensorrt, not" in manifest["artifacts"]["triton"]["reason"]) == rtx
    if reason:
        with pytest.raises(ServingError, match=re.escape(reason)):
            verify_bundle(tmp_path)
    export(exported, tmp_path, ("onnx", "triton"))
    for name in ("m", "m_onnx"):
        versions = {path.name for path in (tmp_path / "triton" / name).iterdir()}
        assert versions == {"1", "2", "config.pbtxt"}


def test_verifying_a_bundle_without_an_engine_is_refused(published):
    with pytest.raises(ServingError, match="holds no TensorRT engine; export one with --format"):
        verify_bundle(published[0])


def test_triton_needs_a_model_to_serve():
    with pytest.raises(ServingError, match="add --format onnx"):
        ExportOptions(("savedmodel", "triton"))
