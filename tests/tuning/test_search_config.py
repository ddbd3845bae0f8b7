"""Whether a directory holds the search that is asked for, and the difference in words if not."""

import copy
import json

import keras_tuner as kt
import pytest

from common.errors import DataError
from tuning.search_config import FORMAT, differences, extendable, save_search_config

ASKED = {
    "task": "sentiment",
    "data": {"source": "synthetic:200", "seed": 0, "reading": {}},
    "data_fingerprint": "0123456789abcdef",
    "model": {"units": 64, "epochs": 6, "dropout": 0.4},
    "preprocessor": {"vocabulary": 8000},
    "strategy": "random",
    "trials": 10,
    "epochs": 6,
    "metric": "val_accuracy",
    "mode": "max",
    "seed": 0,
    "executions": 1,
    "max_pending": 3,
}


def space(declare):
    hp = kt.HyperParameters()
    declare(hp)
    return hp.get_config()["space"]


def declared(
    units=(32, 64), rate=(1e-3, 1e-1), layers=(1, 3), sampling="log", step=1, least=32, depth=1
):
    def declare(hp):
        hp.Choice("units", list(units), default=least)
        hp.Float("rate", *rate, sampling=sampling, default=0.01)
        hp.Int("layers", *layers, step=step, default=depth)
        hp.Boolean("deep")

    return space(declare)


@pytest.fixture
def before():
    return {**copy.deepcopy(ASKED), "space": declared()}


def changed(about, path, value):
    now = copy.deepcopy(about)
    *parents, last = path.split(".")
    place = now
    for parent in parents:
        place = place[parent]
    place[last] = value
    return now


def test_a_search_begins_with_what_it_is_written_down(tmp_path, before):
    about = save_search_config(tmp_path / "new", before)
    written = json.loads((tmp_path / "new" / "search.json").read_text())
    assert written == {"format": FORMAT, **json.loads(json.dumps(before))}
    assert about["max_pending"] == 3


def test_the_same_search_goes_on_and_says_nothing(tmp_path, before):
    save_search_config(tmp_path, before)
    text = (tmp_path / "search.json").read_text()
    assert save_search_config(tmp_path, before)["max_pending"] == 3
    assert (tmp_path / "search.json").read_text() == text


def test_the_number_of_trials_is_free_and_max_pending_stays_what_it_was(tmp_path, before):
    save_search_config(tmp_path, before)
    again = save_search_config(tmp_path, {**before, "trials": 50, "max_pending": 8})
    assert (again["trials"], again["max_pending"]) == (50, 3)
    assert json.loads((tmp_path / "search.json").read_text())["trials"] == 50


CHANGES = {
    "task": ("intent", "task was 'sentiment', now 'intent'"),
    "data.reading": ({"text": 2}, "text was None, now 2"),
    "data_fingerprint": (
        "fedcba9876543210",
        "the content of the data has changed (fingerprint 0123456789ab, now fedcba987654)",
    ),
    "model.dropout": (0.2, "dropout was 0.4, now 0.2"),
    "preprocessor": ({"vocabulary": 99}, "vocabulary was 8000, now 99"),
    "preprocessor.case": (True, "case was None, now True"),
    "strategy": ("bayesian", "strategy was 'random', now 'bayesian'"),
    "epochs": (9, "epochs was 6, now 9"),
    "metric": ("val_loss", "metric was 'val_accuracy', now 'val_loss'"),
    "mode": ("min", "mode was 'max', now 'min'"),
    "seed": (1, "seed was 0, now 1"),
    "executions": (3, "executions was 1, now 3"),
}


@pytest.mark.parametrize("path", CHANGES)
def test_each_other_setting_is_told_and_refused_even_as_an_extension(tmp_path, before, path):
    value, phrase = CHANGES[path]
    now = changed(before, path, value)
    assert differences(before, now) == [phrase]
    assert not extendable(before, now)
    save_search_config(tmp_path, before)
    text = (tmp_path / "search.json").read_text()
    for extend in (False, True):
        with pytest.raises(DataError) as error:
            save_search_config(tmp_path, now, extend)
        assert str(error.value) == (
            f"{tmp_path} holds another search: {phrase}. Ask for the same, or name another --out"
        )
    assert (tmp_path / "search.json").read_text() == text


PLACED = {"source": "rev.csv", "seed": 0, "reading": {"labels": "w.json", "window": 8}}


@pytest.mark.parametrize("source", ["./rev.csv", "/mnt/data/rev.csv", "../other/reviews.csv"])
def test_the_same_data_in_another_place_goes_on_from_there(tmp_path, before, source):
    begun = before | {"data": PLACED}
    save_search_config(tmp_path, begun)
    said = []
    now = begun | {"data": {**PLACED, "source": source}}
    save_search_config(tmp_path, now, tell=said.append)
    assert json.loads((tmp_path / "search.json").read_text())["data"]["source"] == source
    assert len(said) == 1
    assert "rev.csv" in said[0]
    assert source in said[0]
    save_search_config(tmp_path, now, tell=said.append)
    assert len(said) == 1, "nothing new"


def test_other_data_is_refused_and_its_place_is_named(tmp_path, before):
    save_search_config(tmp_path, before)
    now = changed(before, "data.source", "a.csv") | {"data_fingerprint": "fedcba9876543210"}
    with pytest.raises(DataError, match="source was 'synthetic:200', now 'a.csv'") as error:
        save_search_config(tmp_path, now)
    assert "the content of the data has changed" in str(error.value)


def test_paths_of_the_reading_are_places_too_and_nothing_else_is(tmp_path, before):
    begun = before | {"data": PLACED}
    save_search_config(tmp_path, begun)
    places = ("source", "labels")

    def read(**changes):
        return begun | {"data": {**PLACED, "reading": {**PLACED["reading"], **changes}}}

    save_search_config(tmp_path, read(labels="/mnt/w.json"), places=places)
    for other in (read(window=9), read(labels="")):
        with pytest.raises(DataError, match="holds another search"):
            save_search_config(tmp_path, other, places=places)
    with pytest.raises(DataError, match="labels was '/mnt/w.json', now 'v.json'"):
        save_search_config(tmp_path, read(labels="v.json"))


def test_several_differences_are_all_told(before):
    now = changed(changed(before, "seed", 7), "epochs", 2) | {"space": declared(units=(32,))}
    assert differences(before, now) == [
        "epochs was 6, now 2",
        "seed was 0, now 7",
        "units was one of 32, 64, default 32, now one of 32, default 32",
    ]


def test_a_setting_that_is_searched_is_told_by_its_space_alone(before):
    # The default of a hyperparameter is the setting's value.
    now = changed(before, "model.units", 128) | {"space": declared((32, 64, 128), least=128)}
    assert differences(before, now) == [
        "units was one of 32, 64, default 32, now one of 32, 64, 128, default 128"
    ]


SPACES = {
    "a choice more": (
        declared(units=(32, 64, 128)),
        "units was one of 32, 64, default 32, now one of 32, 64, 128, default 32",
        True,
    ),
    "a choice less": (
        declared(units=(32, 128)),
        "units was one of 32, 64, default 32, now one of 32, 128, default 32",
        False,
    ),
    "another default": (
        declared(depth=2),
        "layers was 1 to 3 by 1, default 1, now 1 to 3 by 1, default 2",
        True,
    ),
    "a wider range": (
        declared(rate=(1e-4, 1.0)),
        "rate was 0.001 to 0.1 (log), default 0.01, now 0.0001 to 1.0 (log), default 0.01",
        True,
    ),
    "a narrower range": (
        declared(rate=(1e-3, 0.05)),
        "rate was 0.001 to 0.1 (log), default 0.01, now 0.001 to 0.05 (log), default 0.01",
        False,
    ),
    "another scale": (
        declared(sampling="linear"),
        "rate was 0.001 to 0.1 (log), default 0.01, now 0.001 to 0.1, default 0.01",
        False,
    ),
    "another step": (
        declared(layers=(1, 5), step=2),
        "layers was 1 to 3 by 1, default 1, now 1 to 5 by 2, default 1",
        False,
    ),
    "a hyperparameter more": (
        [*declared(), *space(lambda hp: hp.Choice("cell", ["lstm", "gru"]))],
        "cell was not searched, and is now (one of lstm, gru, default lstm)",
        True,
    ),
    "one of another type": (
        [*declared()[:3], *space(lambda hp: hp.Choice("deep", [True, False]))],
        "deep was boolean, default False, now one of 1, 0, default 1",
        False,
    ),
    "a hyperparameter less": (
        declared()[:3],
        "deep was searched (boolean, default False), and is not now",
        False,
    ),
}


@pytest.mark.parametrize("name", SPACES)
def test_each_other_space_is_told_and_extended_where_it_holds_the_old_one(tmp_path, before, name):
    larger, phrase, sound = SPACES[name]
    now = before | {"space": larger}
    (told,) = differences(before, now)
    assert told == phrase
    assert extendable(before, now) == sound
    save_search_config(tmp_path, before)
    with pytest.raises(DataError) as error:
        save_search_config(tmp_path, now)
    assert f"{tmp_path} holds another search: {told}. " in str(error.value)
    assert ("--extend" in str(error.value)) == sound
    if sound:
        save_search_config(tmp_path, {**now, "trials": 20}, extend=True)
        written = json.loads((tmp_path / "search.json").read_text())
        assert written["space"] == json.loads(json.dumps(larger))
        assert written["trials"] == 20
        assert differences(written, now) == [], "from now on this is the search"
    else:
        with pytest.raises(DataError, match="Ask for the same, or name another --out"):
            save_search_config(tmp_path, now, extend=True)


def test_a_range_whose_steps_leave_the_old_values_out_is_no_extension(before):
    # 1, 3, 5 by hand are none of 0, 2, 4, 6.
    old = before | {"space": declared(layers=(1, 5), step=2)}
    assert not extendable(old, before | {"space": declared(layers=(0, 6), step=2)})
    assert extendable(old, before | {"space": declared(layers=(-1, 7), step=2)})


def test_another_fixed_value_is_told_and_no_extension(before):
    old, new = (
        before | {"space": space(lambda hp, cell=cell: hp.Fixed("cell", cell))}
        for cell in ("gru", "lstm")
    )
    (told,) = differences(old, new)
    assert "gru" in told
    assert "lstm" in told
    assert not extendable(old, new)


def test_another_condition_is_told_and_no_extension(before):
    def under(values):
        def declare(hp):
            hp.Choice("cell", ["gru", "lstm", "rnn"])
            with hp.conditional_scope("cell", values):
                hp.Boolean("deep")

        return before | {"space": space(declare)}

    old, new = under(["gru"]), under(["gru", "lstm"])
    assert not extendable(old, new)
    (told,) = differences(old, new)
    was, now = told.removeprefix("deep was ").split(", now ")
    assert was != now


def test_a_grid_is_not_extended_since_its_order_would_change(tmp_path, before):
    grid = before | {"strategy": "grid"}
    now = grid | {"space": declared(units=(32, 64, 128))}
    assert not extendable(grid, now)
    save_search_config(tmp_path, grid)
    with pytest.raises(DataError, match="Ask for the same"):
        save_search_config(tmp_path, now, extend=True)


def test_each_extension_is_remembered_with_the_trials_before_it(tmp_path, before):
    save_search_config(tmp_path, before)
    for number in range(3):
        (tmp_path / "trials" / f"{number:04d}").mkdir(parents=True)
    (tmp_path / "trials" / "fork-server-here.log").touch()
    wide = before | {"space": declared(units=(32, 64, 128))}
    wider = before | {"space": declared(units=(32, 64, 128, 256))}
    save_search_config(tmp_path, wide, extend=True)
    (tmp_path / "trials" / "0003").mkdir()
    save_search_config(tmp_path, wider, extend=True)
    save_search_config(tmp_path, wider)
    past = json.loads((tmp_path / "search.json").read_text())["extended"]
    assert [(each["trials"], each["space"][0]["config"]["values"]) for each in past] == [
        (3, [32, 64]),
        (4, [32, 64, 128]),
    ]


@pytest.mark.parametrize("older", [{}, {"format": 1}, {"format": 3}, {"mode": "min"}])
def test_another_version_of_the_format_is_refused(tmp_path, before, older):
    (tmp_path / "search.json").write_text(json.dumps(older))
    with pytest.raises(DataError, match="a search of another version of Seqloom") as error:
        save_search_config(tmp_path, before, extend=True)
    assert "name another --out" in str(error.value)
    assert json.loads((tmp_path / "search.json").read_text()) == older
