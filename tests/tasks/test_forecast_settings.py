"""Settings of forecasts that the data chooses: lookback, sizes, epochs and normalisation."""

import numpy as np
import pytest

import tasks
from common.errors import ConfigError
from models.forecasting_config import ForecastConfig, segment_length
from pipelines.frequency import DAY, HOUR, Frequency
from pipelines.series import Series
from pipelines.windows import Table, split_windows, spread_follows_level, usual_lookback
from tasks.stages.run_directory import Run

TASK = tasks.get("forecast")
HOURLY, MONTHLY = Frequency(HOUR), Frequency(1, months=True)


def table(values, frequency=HOURLY):
    values = np.asarray(values, np.float32).reshape(len(values), -1)
    columns = tuple("abc"[: values.shape[1]])
    times = frequency.after(np.int64(0), np.arange(len(values)))
    return Table.of([Series("s", times, values, columns, frequency)], len(columns), len(columns))


@pytest.mark.parametrize(("rows", "frequency", "horizon", "split", "lookback"), [
    (14400, HOURLY, 24, "8640,2880,2880", 14 * 24),
    (14400, HOURLY, 96, "8640,2880,2880", 720),  # 7.5 horizons
    (14400, HOURLY, 336, "8640,2880,2880", 720),  # the most
    (100_000, Frequency(300), 12, "0.7,0.1,0.2", 3 * 288),  # three seasons of five minutes
    (144, MONTHLY, 12, "0.7,0.1,0.2", 24),  # (101 - 12) // 3 rows in whole years
    (3650, Frequency(DAY), 7, "0.8,0.1,0.1", 14 * 7),
    (900, Frequency(1, counter=True), 10, "0.7,0.1,0.2", 75),  # no season
    (40, HOURLY, 4, "0.7,0.1,0.2", 8),  # less than a season
    (12, HOURLY, 2, "0.6,0.2,0.2", 2),
])  # fmt: skip
def test_the_lookback_by_season_horizon_and_rows(rows, frequency, horizon, split, lookback):
    found = usual_lookback(table(np.zeros(rows), frequency), horizon, split)
    assert found == lookback
    split_windows(table(np.arange(rows), frequency), found, horizon, split)  # there is room


@pytest.mark.parametrize(("lookback", "horizon", "season", "length"), [
    (336, 24, 24, 24),
    (720, 96, 24, 48),
    (24, 12, 12, 12),
    (12, 12, 12, 1),  # one season alone cannot be cut in two
    (98, 7, 7, 7),
    (70, 1, 5, 5),
    (864, 12, 288, 58),  # a season far longer than the horizon
    (2, 5, 1, 1),
])  # fmt: skip
def test_segments_are_whole_seasons_where_there_is_room(lookback, horizon, season, length):
    assert segment_length(lookback, horizon, season) == length


def test_what_is_set_stays_and_what_is_not_is_chosen():
    chosen = ForecastConfig().for_windows(8000, 336, 24, 24)
    assert (chosen.units, chosen.embedding_dim, chosen.batch_size) == (128, 128, 64)
    assert (chosen.epochs, chosen.patience, chosen.segment) == (8, 4, 24)
    assert (chosen.normalise, chosen.linear) == ("last", "no")
    assert chosen.for_windows(50, 12, 3, 1, True) == chosen, "done again it changes nothing"
    small = ForecastConfig(units=7, normalise="none").for_windows(50, 12, 3, 1, True)
    assert (small.units, small.embedding_dim, small.batch_size, small.epochs) == (7, 7, 16, 200)
    assert (small.patience, small.normalise, small.linear) == (40, "none", "yes")
    # Flags and runs of earlier versions say true and false.
    assert [ForecastConfig(linear=x).linear for x in (True, False, "auto")] == ["yes", "no", "auto"]
    assert ForecastConfig.from_dict({"linear": False}).for_windows(50, 12, 3).linear == "no"
    assert ForecastConfig().for_windows(50, 12, 3, 1, True).normalise == "mean_std"


def test_a_season_that_multiplies_is_told_from_one_that_adds():
    steps = np.arange(240)
    wave, level = np.sin(steps * 2 * np.pi / 12), np.exp(steps / 100)
    for values, told in ((level * (3 + wave), True), (level * 3 + wave, False), (-level, False)):
        train = split_windows(table(values, MONTHLY), 24, 2, "0.8,0.1,0.1")[0]["train"]
        assert spread_follows_level(train) is told
    both = np.stack([level * (3 + wave), level * 3 + wave], 1)
    train = split_windows(table(both, MONTHLY), 24, 2, "0.8,0.1,0.1")[0]["train"]
    assert not spread_follows_level(train), "every target must"


def test_a_task_resolves_its_settings_and_reads_the_same_data_with_them():
    options = TASK.data_options("synthetic:400", horizon=6)
    splits = TASK.load(options)
    settings, where = TASK.resolve(TASK.settings, options, splits)
    assert where.reading == {"horizon": 6, "lookback": splits.train.lookback}
    assert TASK.load(where).fingerprint == splits.fingerprint
    assert TASK.resolve(settings, where, splits) == (settings, where)
    assert min(settings.model.units, settings.model.epochs, settings.model.segment) > 0
    with pytest.raises(ConfigError, match="--lookback 1: give 2 rows or more"):
        TASK.check(TASK.settings, TASK.data_options("synthetic", lookback=1))
    long = TASK.with_settings(TASK.settings, {"segment": 999})
    with pytest.raises(ConfigError, match="segment is 999, longer than the lookback"):
        TASK.resolve(long, options, splits)


def test_runs_from_before_the_lookback_was_chosen_keep_theirs(tmp_path):
    options = TASK.data_options("synthetic:1200", horizon=6)
    Run(tmp_path).create(TASK, options, TASK.settings, 0)
    assert Run(tmp_path).data().reading == {"horizon": 6, "lookback": 168}
    Run(tmp_path).create(TASK, TASK.data_options("synthetic:1200", lookback=9), TASK.settings, 0)
    assert Run(tmp_path).data().reading == {"lookback": 9}
