"""Optuna's side of `search_replay.py`, in an environment of its own (`pip install optuna`).

    PYTHON benchmarks/search_optuna.py PRUNER LANDSCAPE TRIALS SECONDS SEED...

Prints one JSON list per seed: for each trial the seconds so far, the search's own included, and its
score.
"""

from __future__ import annotations

import json
import sys
import time
import warnings

import optuna
from search_landscapes import EPOCHS, Landscape, landscapes


def main() -> None:
    """Searches."""
    pruner, name, trials, seconds, *seeds = sys.argv[1:]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore")
    for seed in seeds:
        there = landscapes()[name]
        print(json.dumps(search(pruner, there, int(seed), int(trials), float(seconds))), flush=True)


def search(
    pruner: str, there: Landscape, seed: int, trials: int, seconds: float
) -> list[tuple[float, float]]:
    """One search; a point for each trial."""
    pruners = {
        "asha": lambda: optuna.pruners.SuccessiveHalvingPruner(
            min_resource=1, reduction_factor=3
        ),
        "median": lambda: optuna.pruners.MedianPruner(n_warmup_steps=2),
        "none": optuna.pruners.NopPruner,
    }  # fmt: skip
    study = optuna.create_study(
        direction="maximize" if there.mode == "max" else "minimize",
        sampler=optuna.samplers.TPESampler(seed=seed), pruner=pruners[pruner](),
    )  # fmt: skip
    choose, points, spent = max if there.mode == "max" else min, [], 0.0

    for _ in range(trials):
        began = time.process_time()
        trial = study.ask()
        values = {key: suggested(trial, key, kind) for key, kind in there.space.items()}
        scores: list[float] = []
        for epoch in range(EPOCHS):
            scores.append(there.epoch_score(values, epoch))
            trial.report(scores[-1], epoch + 1)
            if trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, choose(scores))
        spent += time.process_time() - began + there.seconds(values, 0, len(scores))
        points.append((round(spent, 3), choose(scores)))
        if spent > seconds:
            break
    return points


def suggested(trial: optuna.Trial, name: str, kind: object) -> object:
    """A value; numbers of a list by their place, so that the sampler knows their order."""
    if not isinstance(kind, list):
        return trial.suggest_float(name, *kind[:2], log=bool(kind[2:]))
    if isinstance(kind[0], str):
        return trial.suggest_categorical(name, kind)
    return kind[trial.suggest_int(name, 0, len(kind) - 1)]


if __name__ == "__main__":
    main()
