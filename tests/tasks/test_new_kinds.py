"""What `seqloom new` writes keeps the contract at once, in a copy of the repository."""

import pytest

from tests.tasks.kind_copies import copy_of_the_repository, run_there

NEW = "import sys; sys.argv[0] = 'seqloom'; from seqloom import main; main()"


def changed_files(before, place):
    return [str(path) for path, text in before.items() if (place / path).read_bytes() != text]


@pytest.mark.slow  # .ci/run runs it besides
def test_a_new_kind_and_its_task_keep_the_contract_at_once(tmp_path):
    place = copy_of_the_repository(tmp_path)
    (place / "tests" / "pipelines").mkdir()
    before = {p.relative_to(place): p.read_bytes() for p in place.rglob("*.py")}
    shown = run_there(place, "-c", NEW, "new", "my-parts", "--kind", "my labels", "--new-kind")
    run_there(place, "-c", NEW, "new", "topic", "--kind", "text_classification")
    assert "tasks/kinds/my_labels/__init__.py" in shown
    assert not changed_files(before, place), "a new kind edits no file that exists"
    tests = [
        "tests/tasks/test_contract.py", "tests/tasks/test_my_parts.py",
        "tests/tasks/test_topic.py", "tests/pipelines/test_my_labels.py",
    ]  # fmt: skip
    done = run_there(
        place, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0", *tests,
        "-k", "my_parts or test_topic or my_labels or topic",
    )  # fmt: skip
    assert "100%" in done
    assert "failed" not in done


@pytest.mark.parametrize(("arguments", "words"), [
    (["my task", "--kind", "text_classification"], ["my task", "underscores"]),
    (["class", "--kind", "text_classification"], ["class"]),
    (["sentiment", "--kind", "text_classification"], ["sentiment.py", "already"]),
    (["topic", "--kind", "nothing"], ["nothing", "text_classification", "--new-kind"]),
    (["topic", "--kind", "forecasting", "--new-kind"], ["forecasting", "already"]),
])  # fmt: skip
def test_what_cannot_be_made_is_said_and_nothing_is_written(arguments, words, tmp_path):
    from common.errors import DataError
    from tasks.stages.scaffolding import new_task

    name, _, kind, *more = arguments
    (tmp_path / "tests" / "tasks").mkdir(parents=True)
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "sentiment.py").write_text("")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError) as error:
        new_task(name, kind, bool(more), tmp_path)
    assert all(word in str(error.value) for word in words)
    assert sorted(tmp_path.rglob("*")) == before
