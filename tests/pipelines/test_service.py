"""A tf.data service: the batches of a training, whatever becomes of the workers."""

import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import ConfigError
from pipelines import service
from pipelines.encoded import EncodedRows
from pipelines.ragged import Ragged
from pipelines.service import ServedEpochs

ROWS = 1200


@pytest.fixture(scope="module")
def epochs():
    lengths = np.random.default_rng(0).integers(1, 30, ROWS)
    texts = Ragged.of([np.full(n, i) for i, n in enumerate(lengths)], np.int32)
    return EncodedRows({"x": texts}, {"y": np.arange(ROWS)}).training_batches(8, 5)


@pytest.fixture
def listening():
    with socket.create_server(("localhost", 0)) as server:
        yield f"grpc://localhost:{server.getsockname()[1]}"


def seen(batches):
    return [(x["x"].tolist(), y["y"].tolist()) for x, y in batches.as_numpy_iterator()]


def test_served_batches_are_not_tuned_either(epochs, listening):
    served = ServedEpochs(epochs, listening)
    for made in (served.one(0), served.starting_with(0)):
        assert made.options().autotune.enabled is False


@settings(max_examples=4, deadline=None)
@given(st.sets(st.integers(0, 149)), st.integers(1, 200), st.integers(0, 100))
def test_lost_and_late_batches_change_nothing(epochs, lost, reach, seed):
    """What a service may do to an epoch: leave numbers out, and give the others in any order."""

    def unreliable(mode, address):
        assert mode == "distributed_epoch"
        gone = tf.constant([*lost, -1], tf.int64)
        return lambda numbered: numbered.filter(
            lambda number, batch: tf.reduce_all(number != gone)
        ).shuffle(reach, seed=seed)

    with pytest.MonkeyPatch.context() as patch, socket.create_server(("localhost", 0)) as server:
        patch.setattr(tf.data.experimental.service, "distribute", unreliable)
        patch.setattr(service, "MOST_AHEAD", 5)
        patch.setattr(service, "PATIENCE", 0.2)
        served = ServedEpochs(epochs, f"grpc://localhost:{server.getsockname()[1]}")
        assert served.steps == epochs.steps == 150
        assert seen(served.one(3)) == seen(epochs.one(3))


def test_addresses_that_are_none(epochs, listening):
    for wrong in ("localhost:5050", "http://a:1", "grpc://:5050", "grpc://a:b", "grpc://a"):
        with pytest.raises(ConfigError, match="write the dispatcher"):
            ServedEpochs(epochs, wrong)
    ServedEpochs(epochs, listening)
    with socket.create_server(("localhost", 0)) as server:
        free = server.getsockname()[1]
    for nobody in (f"grpc://localhost:{free}", "grpc://localhost:99999999"):
        with pytest.raises(ConfigError, match="nobody answers there"):
            ServedEpochs(epochs, nobody)


@pytest.mark.slow
def test_a_worker_is_killed_in_the_middle_of_an_epoch(epochs):
    started = []

    def start(*arguments):
        command = [sys.executable, "-m", "pipelines.service", *arguments]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1].stdout.readline().strip()

    try:
        address = start("dispatcher")
        place = address.removeprefix("grpc://")
        for _ in range(2):
            assert place in start("worker", "--dispatcher", place)
        found = []
        for number, (x, y) in enumerate(ServedEpochs(epochs, address).one(2).as_numpy_iterator()):
            found.append((x["x"].tolist(), y["y"].tolist()))
            if number == 30:
                started[1].kill()
            time.sleep(0.01)
        assert found == seen(epochs.one(2))
        assert sorted(row for _, rows in found for row in rows) == list(range(ROWS))
        assert seen(ServedEpochs(epochs, address).one(3)) == seen(epochs.one(3)), "with the other"
    finally:
        for process in started:
            process.kill()
            process.wait()
