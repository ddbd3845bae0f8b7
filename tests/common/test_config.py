"""The configuration refuses what it cannot mean."""

import json

import pytest

from common.errors import ConfigError
from models.config import RecurrentConfig


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"unit": 3}, "unit"),
        ({"units": "64"}, "units"),
        ({"units": True}, "units"),
        ({"units": 6.5}, "units"),
        ({"units": 0}, "units"),
        ({"layers": 5}, "layers"),
        ({"bidirectional": 1}, "bidirectional"),
        ({"cell": "transformer"}, "simple_rnn, lstm, gru"),
        ({"dropout": 1.0}, "dropout"),
        ({"learning_rate": float("nan")}, "learning_rate"),
    ],
)
def test_bad_values_are_named(values, named):
    with pytest.raises(ConfigError, match=named):
        RecurrentConfig.from_dict(values)


def test_json_round_trip():
    config = RecurrentConfig(cell="lstm", units=7, dropout=0)
    assert RecurrentConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert isinstance(config.dropout, float), "JSON writes 0.0 as 0"


def test_configurations_are_frozen():
    with pytest.raises(AttributeError):
        RecurrentConfig().units = 3
