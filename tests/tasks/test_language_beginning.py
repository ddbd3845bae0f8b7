"""Language models that begin with the weights of another one."""

import shutil

import numpy as np
import pytest

import tasks
from common.errors import ConfigError, DataError
from tasks.kinds.contract import DataOptions
from tasks.stages.run_directory import Run
from tasks.stages.training import train

TASK = tasks.get("language")
SIZES = {"level": "token", "units": 6, "embedding_dim": 5, "layers": 1, "cell": "gru", "epochs": 1}


def sentences(names):
    return [f"the {name} sees a mouse ." for name in names for _ in range(6)]


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    run = Run(tmp_path_factory.mktemp("beginning") / "run")
    data = DataOptions([{"text": text} for text in sentences(["cat", "dog", "bird"])])
    train(TASK, data, TASK.with_settings(TASK.settings, SIZES), run)
    return run


def built(texts, **changes):
    settings = TASK.with_settings(TASK.settings, {"level": "token", **changes})
    TASK.check(settings, DataOptions("synthetic"))
    preprocessor = TASK.adapt(settings, texts)
    return TASK.build(settings, preprocessor, None), preprocessor.units.names


def test_all_weights_are_those_of_the_run_and_new_units_begin_as_the_average(before):
    model, names = built(sentences(["fish", "cat"]), encoder=str(before.path))
    theirs, known = before.model(), before.preprocessor().units.names
    table = theirs.get_layer("embedding").embeddings.numpy()
    mine = model.get_layer("embedding").embeddings.numpy()
    for name in ("cat", "the", "<end>", "dog"):  # which only the run has read
        np.testing.assert_array_equal(mine[names.index(name)], table[known.index(name)])
    np.testing.assert_allclose(mine[names.index("fish")], table.mean(0), rtol=1e-5)
    bias = theirs.get_layer("embedding").bias.numpy()
    found = model.get_layer("embedding").bias.numpy()
    assert found[names.index("mouse")] == bias[known.index("mouse")]
    for layer in ("recurrent_0", "projection"):
        for here, there in zip(
            model.get_layer(layer).get_weights(), theirs.get_layer(layer).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(here, there)


@pytest.mark.parametrize(
    ("changes", "why"),
    [({"level": "char"}, "of level token .* and char here"), ({"backward": True}, "--backward")],
)
def test_other_units_and_the_other_direction_are_refused(before, changes, why):
    with pytest.raises(DataError, match=why):
        built(sentences(["cat"]), encoder=str(before.path), **changes)


def test_a_run_that_began_with_another_one_is_begun_with_too(before, tmp_path):
    run = Run(tmp_path / "second")
    changes = {"level": "token", "encoder": str(before.path), "epochs": 1}
    data = DataOptions([{"text": text} for text in sentences(["fish", "cat"])])
    train(TASK, data, TASK.with_settings(TASK.settings, changes), run)
    third, _ = built(sentences(["cow"]), encoder=str(run.path))
    assert third.get_layer("recurrent_0").units == SIZES["units"]


def test_a_run_of_another_kind_is_refused(before, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(before.path, other)
    shutil.rmtree(other / "preprocessor")
    reviews = tasks.get("sentiment")
    adapted = reviews.adapt(reviews.settings, reviews.load(DataOptions("synthetic:30")).train)
    (other / "preprocessor").mkdir()
    adapted.save(other / "preprocessor")
    with pytest.raises(DataError, match="is no run of a language model"):
        built(sentences(["cat"]), encoder=str(other))


def test_a_directory_without_a_run_is_refused_by_name(tmp_path):
    with pytest.raises(ConfigError, match=f"--encoder {tmp_path} holds no finished run"):
        built(sentences(["cat"]), encoder=str(tmp_path))
