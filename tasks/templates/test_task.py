"""The task template, trained for a moment; tests/tasks/test_contract.py runs over it too."""

import tasks
from tasks.kinds.contract import DataOptions
from tasks.stages.predicting import keras_program
from tasks.stages.run_directory import Run
from tasks.stages.training import train

DATA = DataOptions("synthetic:1200")


def test_a_short_training_has_scores_and_answers(tmp_path):
    task = tasks.get("template")
    settings = task.with_settings(task.settings, {**task.quick, "epochs": 1})
    splits, run = task.load(DATA), Run(tmp_path / "run")
    result = train(task, DATA, settings, run, splits=splits)
    assert task.metric.name in result["metrics"]["test"]
    assert task.metric.name in result["baseline"]["test"]
    preprocessor = run.preprocessor()
    program = keras_program(task, run.model(), preprocessor)
    raw = preprocessor.raw(splits.test[:1])
    (answer,) = preprocessor.answers(program.run(preprocessor.to_request(raw)), raw)
    assert task.format_answer(raw[0], answer)
