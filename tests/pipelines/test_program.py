"""Programs without a model: defaults, settings, what is shared, and answers of their own length."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import DataError
from pipelines.program import LoadedProgram, Program, check_shared, setting_array, with_defaults
from pipelines.ragged import Field
from pipelines.responses import settings_request

INPUTS = {
    "x": {"dtype": "float32", "shape": [-1]},
    "temperature": {"dtype": "float32", "shape": [-1], "default": 0.5},
    "mode": {"dtype": "string", "shape": [-1], "default": "greedy"},
    "beam": {"dtype": "int32", "shape": [-1], "default": 3},
    "fast": {"dtype": "bool", "shape": [-1], "default": True},
}


@given(st.integers(0, 5), st.sampled_from(["none", "scalar", "one", "each"]))
def test_defaults_have_a_value_for_each_row(rows, form):
    given = {"none": [], "scalar": 2.0, "one": [2.0], "each": [2.0] * rows}[form]
    request = {"x": np.zeros(rows, np.float32)}
    if form != "none":
        request["temperature"] = np.array(given, np.float32)
    found = with_defaults(INPUTS, request)
    assert found["temperature"].tolist() == [0.5 if form == "none" else 2.0] * rows
    assert found["mode"].tolist() == [b"greedy"] * rows
    assert found["beam"].tolist() == [3] * rows
    assert {name: found[name].dtype for name in ("beam", "fast", "mode", "temperature")} == {
        "beam": np.int32, "fast": np.bool_, "mode": object, "temperature": np.float32,
    }  # fmt: skip


@pytest.mark.parametrize(("rows", "values"), [(2, 3), (3, 2), (0, 2), (2, 0)])
def test_neither_one_value_nor_one_for_each_row(rows, values):
    request = {"x": np.zeros(rows, np.float32), "temperature": np.ones(values, np.float32)}
    with pytest.raises(ValueError, match=f"temperature has {values} values for {rows} rows"):
        with_defaults(INPUTS, request)


@pytest.mark.parametrize(("value", "dtype", "found"), [
    (1, "float32", 1.0), (0.5, "float64", 0.5), (3, "int64", 3), (True, "bool", True),
    ("a", "string", b"a"), (b"\xff", "string", b"\xff"), ([1, 2], "int32", [1, 2]),
])  # fmt: skip
def test_settings_of_the_right_type(value, dtype, found):
    array = setting_array(value, dtype)
    assert array.tolist() == found
    assert array.dtype == (object if dtype == "string" else dtype)


@pytest.mark.parametrize(("value", "dtype"), [
    (0.5, "int32"), (2**40, "int32"), (-1, "uint8"), ("a", "float32"), (True, "float32"),
    (True, "int64"), (1, "bool"), (1, "string"), (None, "float32"), ({}, "int32"),
])  # fmt: skip
def test_settings_of_another_type_are_refused(value, dtype):
    with pytest.raises(ValueError, match=dtype):
        setting_array(value, dtype)


def test_settings_of_a_person_are_named_when_they_are_wrong():
    program = Program()
    program.signature = {"inputs": INPUTS, "outputs": {}}
    found = settings_request(program, {"beam": 4, "mode": "beam"})
    assert (found["beam"].tolist(), found["mode"].tolist()) == ([4], [b"beam"])
    with pytest.raises(DataError, match=r"beam is 1\.5; it must be of type int32"):
        settings_request(program, {"beam": 1.5})
    with pytest.raises(DataError, match=r"no decoding setting 'x'; it takes temperature, mode"):
        settings_request(program, {"x": 1.0})


def test_what_rows_share():
    check_shared(("beam",), {"beam": np.array([3, 3]), "x": np.array([1, 2])})
    check_shared(("beam",), {"x": np.array([1, 2])})
    check_shared(("beam",), {"beam": np.zeros(0, int)})
    with pytest.raises(ValueError, match="beam must be the same for all rows of a request"):
        check_shared(("beam",), {"beam": np.array([3, 4])})


class Wide(Program):
    """A program whose core and whose answer are wider than any row."""

    signature = {  # noqa: RUF012
        "inputs": {"n": {"dtype": "int64", "shape": [-1]}},
        "outputs": {
            "steps": {"dtype": "int64", "shape": [-1, -1]},
            "n": {"dtype": "int64", "shape": [-1]},
        },
    }
    fields = {"steps": Field(0, "n"), "core": Field(0, "n")}  # noqa: RUF012

    def encode(self, request):
        return dict(request)

    def decode(self, outputs):
        assert outputs["core"].shape[1] == outputs["n"].max(initial=0)
        return {"steps": np.pad(outputs["core"], [(0, 0), (0, 4)]), "n": outputs["n"]}


class Counts:
    inputs, states = ("n",), {}  # noqa: RUF012

    def __call__(self, arrays):
        n = arrays["n"]
        steps = np.arange(1, 12)
        return {"core": np.where(steps <= n[:, None], steps, 0), "n": n}


@given(st.lists(st.integers(0, 9), max_size=5))
def test_an_answer_has_the_length_of_its_longest_row(lengths):
    program = LoadedProgram(Wide(), {"model": Counts()})
    found = program.run({"n": np.array(lengths, np.int64)})
    assert found["steps"].shape == (len(lengths), max(lengths, default=0))
    for row, n in zip(found["steps"], lengths, strict=True):
        assert row[:n].tolist() == list(range(1, n + 1))
