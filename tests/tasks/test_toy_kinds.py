"""The toys keep the whole contract in a copy of the repository.

They loop over a step model, carry states, answer sequences of unequal length and take decoding
settings with a request.
"""

import shutil

import pytest

from tests.tasks.kind_copies import ROOT, copy_of_the_repository, run_there

TOYS = ROOT / "tests" / "toy_kinds"


@pytest.mark.slow  # .ci/run runs it besides
@pytest.mark.parametrize("toy", ["toy_language", "toy_reversal"])
def test_a_toy_kind_keeps_the_whole_contract(toy, tmp_path):
    place = copy_of_the_repository(tmp_path)
    shutil.copytree(TOYS, place, dirs_exist_ok=True)
    shown = run_there(
        place, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0",
        "tests/tasks/test_contract.py", "-k", toy,
    )  # fmt: skip
    assert "100%" in shown
    assert "failed" not in shown
