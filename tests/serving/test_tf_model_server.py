"""TensorFlow Serving's flags: an existing command line, as a process."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import grpc
import httpx
import pytest

from serving.client import Client
from serving.errors import ServingError
from serving.tf_model_server import _channel_arguments, parsed

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """`BASE/<version>`: y = version * x, as SavedModels."""
    import tensorflow as tf

    base = tmp_path_factory.mktemp("base") / "half_plus_two"
    for version in (1, 2):
        module = tf.Module()
        module.__call__ = tf.function(
            lambda x, v=version: {"y": v * x}, [tf.TensorSpec([None], tf.float32, "x")]
        )
        signatures = {"serving_default": module.__call__}
        tf.saved_model.save(module, str(base / str(version)), signatures)
    return base


@contextlib.contextmanager
def server(*flags, ready=True):
    """The process, with the lines of its log."""
    command = [sys.executable, "-m", "serving.tf_model_server", *map(str, flags)]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip
    process.log = []
    try:
        while ready:
            line = process.stderr.readline()
            assert line, process.log
            process.log.append(line)
            if "Exporting HTTP/REST API" in line:
                break
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.stderr.close()


def free_ports(count=2):
    import socket

    with contextlib.ExitStack() as held:
        made = [held.enter_context(socket.create_server(("", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in made]


def predict(port, name, x, **which):
    path = "".join(f"/{key}s/{value}" for key, value in which.items())
    url = f"http://127.0.0.1:{port}/v1/models/{name}{path}:predict"
    return httpx.post(url, json={"instances": x}, timeout=30).json()


def test_flags():
    values, unknown, idle = parsed(
        ["--port=1", "--port=2", "--enable_batching", "--enable_model_warmup=false", "--what=1",
         "--num_load_threads=4", "--xla_gpu_compilation_enabled=false", "word"]
    )  # fmt: skip
    assert (values["port"], values["enable_batching"], values["enable_model_warmup"]) == (
        2, True, False,
    )  # fmt: skip
    assert (unknown, idle) == (["--what=1", "word"], ["--num_load_threads"])
    for wrong in ("--port=x", "--port", "--enable_batching=maybe"):
        with pytest.raises(ServingError, match=re.escape(wrong)):
            parsed([wrong])


def test_channel_arguments_that_are_none_are_refused():
    streams = "grpc.max_concurrent_streams"
    asked = f"{streams}=9, grpc.max_connection_age_ms=-1,grpc.other=x"
    assert dict(_channel_arguments(asked)) == {
        streams: 9, "grpc.max_connection_age_ms": -1, "grpc.other": "x",
    }  # fmt: skip
    for wrong in ("abc", "", "0", "-3", "--5", "1.5", "\u0663", str(2**31)):
        with pytest.raises(ServingError, match=re.escape(f"{streams}={wrong}: give a whole")):
            _channel_arguments(f"{streams}={wrong}")


@pytest.mark.slow
def test_a_command_line_of_tensorflow_serving_works(saved, tmp_path):
    rest, port = free_ports()
    (tmp_path / "monitoring.pbtxt").write_text("prometheus_config { enable: true }")
    (tmp_path / "batching.pbtxt").write_text(
        "max_batch_size { value: 8 } batch_timeout_micros { value: 500 }"
    )
    with server(
        f"--port={port}", f"--rest_api_port={rest}", "--model_name=half_plus_two",
        f"--model_base_path={saved}", "--enable_batching=true",
        f"--batching_parameters_file={tmp_path / 'batching.pbtxt'}",
        f"--monitoring_config_file={tmp_path / 'monitoring.pbtxt'}",
        f"--grpc_socket_path={tmp_path / 'socket'}", "--num_load_threads=2",
        "--grpc_channel_arguments=grpc.max_concurrent_streams=9",
        "--file_system_poll_wait_seconds=1",
    ) as process:  # fmt: skip
        log = "".join(process.log)
        assert f"Running gRPC ModelServer at 0.0.0.0:{port} ..." in log
        assert "without effect in this server: --num_load_threads" in log
        assert predict(rest, "half_plus_two", [1, 2]) == {"predictions": [2.0, 4.0]}
        error = "Task size 9 is larger than maximum input batch size 8"
        assert predict(rest, "half_plus_two", [1] * 9) == {"error": error}
        with Client(f"grpc://127.0.0.1:{port}", "half_plus_two") as client:
            assert client.predict({"x": [3.0]})["y"].tolist() == [6.0]
        with grpc.insecure_channel(f"unix:{tmp_path / 'socket'}") as channel:
            grpc.channel_ready_future(channel).result(10)
        page = httpx.get(f"http://127.0.0.1:{rest}/monitoring/prometheus/metrics").text
        assert (
            '\n:tensorflow:serving:request_count{model_name="half_plus_two",status="OK"} 2\n'
            in page
        )
        latency = ':tensorflow:serving:request_latency_count{model_name="half_plus_two",'
        assert f'{latency}API="predict",entrypoint="REST"}} 1' in page
        assert f'{latency}API="Predict",entrypoint="GRPC"}} 1' in page


@pytest.mark.slow
def test_a_config_file_that_changes(saved, tmp_path):
    rest, port = free_ports()
    config = tmp_path / "models.pbtxt"

    def write(policy, labels=""):
        entry = f'name: "m" base_path: "{saved}" model_platform: "tensorflow" {policy} {labels}'
        config.write_text(f"model_config_list {{ config {{ {entry} }} }}")

    write("model_version_policy { specific { versions: 1 } }")
    with server(
        f"--port={port}", f"--rest_api_port={rest}", f"--model_config_file={config}",
        "--model_config_file_poll_wait_seconds=1",
    ):  # fmt: skip
        assert predict(rest, "m", [5]) == {"predictions": [5.0]}
        config.write_text("model_config_list { nonsense }")
        time.sleep(2)
        assert predict(rest, "m", [5]) == {"predictions": [5.0]}
        write("model_version_policy { all {} }", 'version_labels { key: "old" value: 1 }')
        until = time.monotonic() + 30
        while predict(rest, "m", [5]) != {"predictions": [10.0]}:
            assert time.monotonic() < until
            time.sleep(0.1)
        until = time.monotonic() + 10
        while "error" in predict(rest, "m", [5], label="old"):
            assert time.monotonic() < until
            time.sleep(0.1)
        assert predict(rest, "m", [5], label="old") == {"predictions": [5.0]}


BAD = [
    ([], "Both server_options.model_base_path and server_options.model_config_file are empty!"),
    (["--model_base_path=/x", "--batching_parameters_file=/y"],
     "server_options.batching_parameters_file is set without setting "
     "server_options.enable_batching to true."),
    (["--model_base_path=/x", "--port=0"],
     "server_options.port and server_options.grpc_socket_path are both empty"),
    (["--model_config_file={tmp}/bad"],
     "Error parsing text-format tensorflow.serving.ModelServerConfig: {tmp}/bad:1:1"),
    (["--model_base_path=/x", "--monitoring_config_file={tmp}/none"], "cannot be read"),
]  # fmt: skip


@pytest.mark.parametrize(("flags", "message"), BAD)
def test_refusals(flags, message, tmp_path, capsys):
    from serving.tf_model_server import main

    (tmp_path / "bad").write_text("wrong")
    assert main([flag.format(tmp=tmp_path) for flag in flags]) == 255
    told = capsys.readouterr().err
    assert "Failed to start server. Error: UNKNOWN: " in told
    assert message.format(tmp=tmp_path) in told
    assert json.dumps(told).count("\\n") == 1
