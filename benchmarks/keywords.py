"""Keyword spotting: accuracy on touch tones and on spoken digits, new speakers, endless sound.

    python benchmarks/keywords.py                                     # touch tones; minutes
    python benchmarks/keywords.py digits speakers --data ../shared/data/fsdd/recordings
    python benchmarks/keywords.py stream --data ../shared/data/fsdd/recordings

``tones`` is the synthetic default. ``digits`` is the Free Spoken Digit Dataset by its own rule:
takes 0 to 4 are the test part. ``speakers`` trains without one of its six speakers and tests on
that one, six times. ``stream`` trains with ``--background`` on takes 5 and above, and follows an
hour of the test takes in noise, and another hour in which half as many of them come backwards too,
which sound like speech and are no digits. ``features`` says what frames cost. --out keeps the runs;
one that is finished there is not trained again.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measuring import report, setting

import tasks
from models.keyword_metrics import Spoken
from pipelines.audio_background import BACKGROUND, coloured_noise
from pipelines.keyword_watch import KeywordDecoding, KeywordWatch
from reports.keyword_curve import alarm_curve, draw_curve
from serving import Predictor
from serving.export import ExportOptions
from tasks.stages.exporting import export
from tasks.stages.run_directory import Run
from tasks.stages.training import train

PATTERN = "{label}_{speaker}_{take}"
TAKES = "take=0-4"
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
# The defaults were chosen with these left out, on takes 5 and above; nothing was looked at for the
# others.
CHOSEN_ON = ("george", "theo", "yweweler")
# What words of new speakers need, and touch tones do not bear: other voices have other bands.
SPOKEN = {
    "warp": 0.1, "tempo": 0.2, "band_masks": 1, "filters": 24, "layers": 1, "units": 96,
    "pooling": "attention", "average": 0.98, "stack": 6, "stride": 4,
}  # fmt: skip
SHARE = 0.5  # of made sounds, for endless sound
GAP = 11.0  # seconds between words, on average
TASK = tasks.get("keyword")


def main() -> None:
    """Measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", default=["tones"],
                        help="tones, digits, speakers, stream, features")  # fmt: skip
    parser.add_argument("--data", type=Path, default=Path("../shared/data/fsdd/recordings"))
    parser.add_argument("--settings", nargs="*", default=[], type=setting, metavar="NAME=VALUE")
    parser.add_argument("--out", type=Path, help="keeps the runs")
    options = parser.parse_args()
    real = set(options.parts) - {"tones"}
    if real and not options.data.is_dir():
        print(f"skipped: {options.data} is not there; name the recordings with --data")
        return
    with tempfile.TemporaryDirectory() as scratch:
        place = options.out or Path(scratch)
        changes = {**SPOKEN, **dict(options.settings)}
        rows = []
        if "tones" in options.parts:
            tones = trained(place / "tones", "synthetic", dict(options.settings))
            rows.append(score("tones", tones))
        if "digits" in options.parts:
            run = trained(place / "digits", options.data, changes, test_where=TAKES)
            rows.append(score("digits, takes 0-4", run))
        if "speakers" in options.parts:
            rows += speakers(place, options.data, changes)
        if rows:
            report("keywords", rows)
        if "features" in options.parts:
            report("keywords_features", features(options.data))
        if "stream" in options.parts:
            report("keywords_stream", streamed(place, options.data, changes))


def trained(place: Path, source: Any, changes: dict[str, Any], **reading: Any) -> Run:
    """A finished run: that which is there, or a new one."""
    run = Run(place)
    if not (place / "metrics.json").is_file():
        if source != "synthetic":
            reading["name_pattern"] = PATTERN
        data = TASK.data_options(str(source), **reading)
        train(TASK, data, TASK.with_settings(TASK.settings, changes), run, tell=print)
    return run


def score(name: str, run: Run) -> dict[str, Any]:
    """A row of the table: the accuracy of the model and of its baseline."""
    found = run.read_json("metrics.json")
    return {
        "data": name,
        "accuracy": found["metrics"]["test"]["accuracy"],
        "validation": found["metrics"]["validation"]["accuracy"],
        "baseline": found["baseline"]["test"]["accuracy"],
        "test sounds": found["examples"]["test"],
        "parameters": found["parameters"],
    }


def speakers(place: Path, data: Path, changes: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for each speaker left out, the mean of all, and that of those that chose nothing."""
    rows = {}
    for one in SPEAKERS:
        run = trained(place / f"without-{one}", data, changes, test_where=f"speaker={one}")
        rows[one] = score(f"without {one}", run)
    means = {"all six": SPEAKERS, "unseen so far": [s for s in SPEAKERS if s not in CHOSEN_ON]}
    return [*rows.values(), *(
        {"data": f"mean of {name}", **{
            key: float(np.mean([rows[one][key] for one in some]))
            for key in ("accuracy", "validation", "baseline")
        }}
        for name, some in means.items()
    )]  # fmt: skip


def features(data: Path) -> list[dict[str, Any]]:
    """A row for each stage: processor seconds that an hour of training sound costs."""
    reading = {"name_pattern": PATTERN, "test_where": TAKES}
    loading = TASK.data_options(str(data), **reading)
    clock = time.process_time
    began = clock()
    train_part = TASK.load(loading).train
    loaded = clock()
    preprocessor = TASK.adapt(TASK.settings, train_part)
    adapted = clock()
    preprocessor.encoded(train_part)
    encoded = clock()
    for one in train_part:
        one.sound()
    read = clock()
    hours = sum(one.lasting for one in train_part) / 3600
    stages = {
        "finding, headers and digests": loaded - began,
        "mean and scale of frames, reading included": adapted - loaded,
        "frames for training, reading included": encoded - adapted,
        "of which reading is": read - encoded,
    }
    return [
        {"stage": name, "processor seconds an hour of sound": seconds / hours}
        for name, seconds in stages.items()
    ]


# ---- endless sound


def streamed(place: Path, data: Path, changes: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for each threshold and track; draws the curve."""
    reading = {"test_where": TAKES, "background": SHARE}
    run = trained(place / "stream", data, changes, **reading)
    bundle = place / "stream" / "bundle"
    options = TASK.data_options(str(data), name_pattern=PATTERN, **reading)
    splits = TASK.load(options)
    if not (bundle / "manifest.json").is_file():
        export(run, bundle, ExportOptions(("onnx",), ("fp32",), 0.01), splits=splits)
    predictor, rows, curves = Predictor(bundle, threads=1), [], {}
    preprocessor = predictor.preprocessor
    for name, backwards in (("noise", 0.0), ("noise, words backwards", 0.5)):
        sound, spoken = track(splits.test, preprocessor.features.rate, backwards)
        started = time.process_time()
        probabilities = followed(predictor, sound)
        speed = len(sound) / preprocessor.features.rate / (time.process_time() - started)
        points = alarm_curve(
            preprocessor.labels, probabilities, spoken, KeywordDecoding(), preprocessor.window
        )
        curves[name] = points
        rows += [
            {
                "between keywords": name,
                "threshold": one.threshold,
                "misses": one.misses,
                "false alarms an hour": one.alarms,
                "keywords": len(spoken),
                "minutes": len(sound) / preprocessor.features.rate / 60,
                "times faster than sound": speed,
            }
            for one in points
        ]
    draw_curve(curves, Path(__file__).resolve().parents[1] / "docs" / "keyword_curve.png")
    return rows


def track(examples: Sequence[Any], rate: int, backwards: float) -> tuple[np.ndarray, list[Spoken]]:
    """Every recording once, about ``GAP`` seconds apart, in noise that comes and goes, and a share
    of them once more backwards in between: ``<float32>[n]``, and what is said when."""
    draw = np.random.default_rng(11)
    parts, spoken, at = [], [], 0
    for i in draw.permutation(len(examples)):
        pause = np.zeros(int(draw.exponential(GAP - 2) * rate + 2 * rate))
        if draw.random() < backwards:
            other = examples[int(draw.integers(len(examples)))].at(rate)[::-1][: len(pause)]
            start = int(draw.integers(len(pause) - len(other) + 1))
            pause[start : start + len(other)] = other
        word = examples[i].at(rate)
        spoken.append(Spoken(
            (at + len(pause)) / rate, (at + len(pause) + len(word)) / rate, examples[i].target
        ))  # fmt: skip
        piece = np.concatenate([pause, word])
        loud = 10 ** (draw.uniform(-70, -35) / 20)
        parts.append(piece + loud * coloured_noise(len(piece), draw))
        at += len(piece)
    return np.concatenate(parts).astype(np.float32), spoken


def followed(predictor: Predictor, sound: np.ndarray) -> np.ndarray:
    """Probabilities of every decision: ``<float32>[decisions, classes]``."""
    rows: list[np.ndarray] = []

    def run(request: Any) -> Any:
        response = predictor.run(request)
        rows.extend(response["probabilities"])
        return response

    assert BACKGROUND in predictor.preprocessor.labels
    watch = KeywordWatch(predictor.preprocessor, run, KeywordDecoding(), batch=16)
    for piece in np.array_split(sound, 100):
        watch.push(piece)
    watch.end()
    return np.array(rows)


if __name__ == "__main__":
    main()
