"""The models that ``serving.py`` and ``serving_steps.py`` ask, and what they ask them."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

MODEL = {"cell": "lstm", "layers": 2, "units": 64, "bidirectional": True, "epochs": 1}
TEXTS = 512


def reviews(place: Path) -> list[dict[str, str]]:
    """Texts and labels: to train on, and the last ``TEXTS`` to ask about."""
    if place.is_dir():
        import tasks

        task = tasks.get("sentiment")
        splits = task.load(task.data_options(str(place)))
        chosen = [*splits.train[:1000], *splits.test[:TEXTS]]
        return [{"text": example.text, "label": example.label} for example in chosen]
    print(f"{place} is not there: random words instead", file=sys.stderr)
    drawn = random.Random(0)
    lengths = [min(1000, int(drawn.lognormvariate(5.2, 0.6))) for _ in range(1000 + TEXTS)]
    return [
        {"text": " ".join(f"word{drawn.randrange(5000)}" for _ in range(n)), "label": "ab"[n % 2]}
        for n in lengths
    ]


def make_bundle(scratch: Path, rows: list[dict[str, str]]) -> Path:
    """The model; trained for a moment, since only its size and vocabulary count."""
    import tensorflow as tf

    import tasks
    from serving.savedmodel import ServingModule
    from tasks.stages.exporting import export
    from tasks.stages.run_directory import Run
    from tasks.stages.training import train

    task = tasks.get("sentiment")
    settings = task.with_settings(task.settings, MODEL)
    run = Run(scratch / "run")
    file = scratch / "train.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    train(task, task.data_options(str(file)), settings, run)
    bundle = Path(export(run, scratch / "bundle")["bundle"])
    plain = ServingModule(task.cores(run.model()), run.preprocessor())
    tf.saved_model.save(plain, str(bundle / "keras" / "1"), signatures=plain.functions)
    return bundle


def tagger_bundle(scratch: Path, name: str, place: Path) -> tuple[list[str], Path]:
    """Sentences of the test part, and a tagger; trained for a moment."""
    import tensorflow as tf

    import tasks
    from serving.savedmodel import ServingModule
    from tasks.stages.exporting import export
    from tasks.stages.run_directory import Run
    from tasks.stages.training import train

    task = tasks.get(name)
    data = task.data_options(str(place))
    splits = task.load(data)
    texts = [one.text or " ".join(one.tokens) for one in splits.test[:TEXTS]]
    run = Run(scratch / "run")
    train(task, data, task.with_settings(task.settings, {"epochs": 1}), run, splits=splits)
    bundle = Path(export(run, scratch / "bundle", splits=splits)["bundle"])
    plain = ServingModule(task.cores(run.model()), run.preprocessor())
    tf.saved_model.save(plain, str(bundle / "keras" / "1"), signatures=plain.functions)
    return texts, bundle
