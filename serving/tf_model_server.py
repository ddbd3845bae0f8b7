"""This server under TensorFlow Serving's flags: ``python -m serving.tf_model_server``.

An existing command line or container entry point works unchanged:

    python -m serving.tf_model_server --port=8500 --rest_api_port=8501 \\
        --model_name=sentiment --model_base_path=/models/sentiment

Flags that this server has no use for are taken and named once in the log.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serving.errors import RequestError, ServingError
from serving.runtime.batching import BatchOptions
from serving.runtime.config_files import batch_options, metrics_path, models_of, read_message
from serving.runtime.grpc_server import ARGUMENTS
from serving.runtime.loading import LoadOptions, base_path_location
from serving.runtime.manager import WatchOptions
from serving.runtime.rest_api import RestOptions
from serving.runtime.runtime import RequestLimits, Runtime
from serving.runtime.servables import ModelSettings
from serving.runtime.server import Server, ServerOptions, Tls, announce_ports
from serving.tensors import DEFAULT_MAX_ELEMENTS

# Flags with an effect, and their defaults, whose types are theirs.
FLAGS: dict[str, Any] = {
    "port": 8500,
    "grpc_socket_path": "",
    "rest_api_port": 0,
    "rest_api_timeout_in_ms": 30000,
    "rest_api_enable_cors_support": False,
    "enable_batching": False,
    "batching_parameters_file": "",
    "model_config_file": "",
    "model_config_file_poll_wait_seconds": 0,
    "model_name": "default",
    "model_base_path": "",
    "allow_version_labels_for_unavailable_models": False,
    "max_num_load_retries": 5,
    "load_retry_interval_micros": 60_000_000,
    "file_system_poll_wait_seconds": 1,
    "tensorflow_session_parallelism": 0,
    "tensorflow_intra_op_parallelism": 0,
    "ssl_config_file": "",
    "saved_model_tags": "serve",
    "grpc_channel_arguments": "",
    "enable_model_warmup": True,
    "monitoring_config_file": "",
    "enable_signature_method_name_check": False,
    "enable_grpc_healthcheck_service": False,
    "enable_serialization_as_tensor_content": False,
    "version": False,
}
# Taken for the sake of command lines that have them.
WITHOUT_EFFECT: dict[str, Any] = {
    "rest_api_num_threads": 0,
    "enable_per_model_batching_parameters": False,
    "num_load_threads": 0,
    "num_unload_threads": 0,
    "flush_filesystem_caches": True,
    "tensorflow_inter_op_parallelism": 0,
    "tensorflow_session_config_file": "",
    "platform_config_file": "",
    "per_process_gpu_memory_fraction": 0.0,
    "grpc_max_threads": 0,
    "num_request_iterations_for_warmup": 0,
    "remove_unused_fields_from_bundle_metagraph": True,
    "prefer_tflite_model": False,
    "num_tflite_pools": 1,
    "num_tflite_interpreters_per_pool": 1,
    "xla_cpu_compilation_enabled": False,
    "xla_gpu_compilation_enabled": False,
    "enable_profiler": True,
    "thread_pool_factory_config_file": "",
    "mixed_precision": "",
    "use_alts_credentials": False,
    "skip_initialize_tpu": False,
}
EXIT_FAILED = 255

logger = logging.getLogger("serving")


def parsed(arguments: Sequence[str]) -> tuple[dict[str, Any], list[str], list[str]]:
    """Flags as TensorFlow Serving reads them: the last of equal ones wins.

    Args:
        arguments: command line, such as ``--port=8500``, ``--enable_batching``.

    Returns:
        Values by flag; arguments that are no flag; flags given that have no effect.

    Raises:
        ServingError: a value is not of its flag's type.
    """
    values, unknown, idle = dict(FLAGS), [], []
    for argument in arguments:
        name, given, text = argument.removeprefix("--").partition("=")
        name = name.replace("-", "_") if argument.startswith("--") else ""
        default = FLAGS.get(name, WITHOUT_EFFECT.get(name))
        if default is None:
            unknown.append(argument)
            continue
        value = _value(argument, default, text if given else None)
        if name in FLAGS:
            values[name] = value
        elif value != default:
            idle.append(f"--{name}")
    return values, unknown, idle


def _value(argument: str, default: Any, text: str | None) -> Any:
    if isinstance(default, bool):
        if text is None or text.lower() in ("true", "t", "1"):
            return True
        if text.lower() in ("false", "f", "0"):
            return False
        raise ServingError(f"{argument}: give true or false")
    if text is None:
        raise ServingError(f"{argument} needs a value: {argument}=...")
    try:
        return type(default)(text)
    except ValueError as error:
        raise ServingError(f"{argument}: give a number") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until SIGTERM; the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s] %(message)s")
    try:
        flags, unknown, idle = parsed(sys.argv[1:] if arguments is None else arguments)
        for argument in unknown:
            print(f"unknown argument: {argument}\n{usage()}", file=sys.stderr)
        if flags["version"]:
            from importlib.metadata import version

            print(f"Seqloom ModelServer: {version('seqloom')}")
            return 0
        if idle:
            logger.info("without effect in this server: %s", ", ".join(idle))
        run(flags)
    except (ServingError, RequestError) as error:
        print(f"Failed to start server. Error: UNKNOWN: {error}", file=sys.stderr)
        return EXIT_FAILED
    return 0


def run(flags: dict[str, Any]) -> None:
    """Serves until SIGTERM.

    Raises:
        ServingError: a flag, a file, a model or a port cannot be used.
    """
    if not flags["model_base_path"] and not flags["model_config_file"]:
        raise ServingError(
            "Both server_options.model_base_path and server_options.model_config_file are empty!"
        )
    if flags["batching_parameters_file"] and not flags["enable_batching"]:
        raise ServingError(
            "server_options.batching_parameters_file is set without setting "
            "server_options.enable_batching to true."
        )
    if not flags["port"] and not flags["grpc_socket_path"]:
        raise ServingError("server_options.port and server_options.grpc_socket_path are both empty")
    runtime = runtime_of(flags)
    models = configured(flags, {})
    server = Server(runtime, server_options(flags))
    if flags["model_config_file"] and flags["model_config_file_poll_wait_seconds"] > 0:
        ConfigPoll(server, flags).start()
    server.run(models, announce_ports)


def runtime_of(flags: dict[str, Any]) -> Runtime:
    """Limits, batching, loading and watching as the flags say."""
    batching = BatchOptions(joins=False, workers=4 * (os.cpu_count() or 1), max_waiting=100_000)
    if flags["enable_batching"]:
        batching = batch_options(flags["batching_parameters_file"] or None)
    poll = flags["file_system_poll_wait_seconds"]
    threads = flags["tensorflow_intra_op_parallelism"] or flags["tensorflow_session_parallelism"]
    return Runtime(
        RequestLimits(
            # TensorFlow Serving has no limits; this is what protobuf can carry.
            max_body_bytes=2**31 - 1,
            max_rows=DEFAULT_MAX_ELEMENTS,
            timeout_seconds=flags["rest_api_timeout_in_ms"] / 1000,
            check_method_names=flags["enable_signature_method_name_check"],
        ),
        batching,
        LoadOptions(
            threads=threads or None,
            tags=tuple(flags["saved_model_tags"].split(",")),
            warm=flags["enable_model_warmup"],
        ),
        WatchOptions(
            poll_seconds=max(0, poll),
            retries=flags["max_num_load_retries"],
            retry_seconds=flags["load_retry_interval_micros"] / 1e6,
            labels_ahead=flags["allow_version_labels_for_unavailable_models"],
        ),
    )


def configured(flags: dict[str, Any], running: dict[str, ModelSettings]) -> list[ModelSettings]:
    """The models that the flags, or the file that they name, ask for.

    Raises:
        ServingError: the file cannot be read.
        RequestError: it contradicts itself.
    """
    if flags["model_config_file"]:
        return models_of(read_message(flags["model_config_file"], "ModelServerConfig"), running)
    name = flags["model_name"]
    return [ModelSettings(name, base_path_location(flags["model_base_path"], name))]


def server_options(flags: dict[str, Any]) -> ServerOptions:
    """Ports and what is open on them."""
    path = flags["monitoring_config_file"]
    rest_port = flags["rest_api_port"] or None
    if rest_port == flags["port"]:
        logger.error("rest_api_port and port are both %s; REST is not served", rest_port)
        rest_port = None
    return ServerOptions(
        address="0.0.0.0",  # noqa: S104 as the server whose flags these are
        rest_port=rest_port,
        grpc_port=flags["port"] or None,
        grpc_socket=flags["grpc_socket_path"] or None,
        grpc_arguments=_channel_arguments(flags["grpc_channel_arguments"]),
        rest=RestOptions(
            metrics_path(path) if path else None, flags["rest_api_enable_cors_support"]
        ),
        health=flags["enable_grpc_healthcheck_service"],
        as_content=flags["enable_serialization_as_tensor_content"],
        grpc_tls=_tls(flags["ssl_config_file"]),
        wait_for_models=True,
    )


def _channel_arguments(text: str) -> tuple[tuple[str, Any], ...]:
    """``k=v,k=v``; those that the server heeds are whole numbers."""
    found = []
    for item in filter(None, text.split(",")):
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals:
            raise ServingError(f"--grpc_channel_arguments: {item} is no name=value")
        if key in ARGUMENTS:
            whole = re.fullmatch(r"-1|0*[1-9][0-9]{0,9}", value)
            if not whole or int(value) >= 2**31:
                raise ServingError(
                    f"--grpc_channel_arguments: {item}: give a whole number from 1 to {2**31 - 1}, "
                    "or -1 for no limit"
                )
        found.append((key, int(value) if key in ARGUMENTS else value))
    return tuple(found)


def _tls(path: str) -> Tls | None:
    """The certificates that an ``SSLConfig`` file holds."""
    if not path:
        return None
    config = read_message(path, "SSLConfig")
    if config.client_verify and not config.custom_ca:
        raise ServingError(f"{path}: client_verify needs custom_ca")
    return Tls(
        cert=config.server_cert.encode(),
        key=config.server_key.encode(),
        client_ca=config.custom_ca.encode() if config.client_verify else None,
    )


class ConfigPoll:
    """Reads the model config file again and again; what is wrong with it changes nothing.

    Args:
        server: whose models it lists.
        flags: name of the file, and seconds between two looks at it.
    """

    def __init__(self, server: Server, flags: dict[str, Any]) -> None:
        self._server, self._flags = server, flags

    def start(self) -> None:
        """Starts the polling thread."""
        threading.Thread(target=self._watch, name="config", daemon=True).start()

    def _watch(self) -> None:
        manager = self._server.runtime.manager
        path, seen = Path(self._flags["model_config_file"]), None
        while not manager.stopping.wait(self._flags["model_config_file_poll_wait_seconds"]):
            try:
                text = path.read_bytes()
                if text != seen and manager.started:
                    manager.replace(configured(self._flags, manager.settings))
                    seen = text
            except (OSError, ServingError, RequestError) as error:
                logger.error("%s is not taken over: %s", path, error)


def usage() -> str:
    """All flags and their defaults."""
    lines = [f"  --{name}={default}" for name, default in {**FLAGS, **WITHOUT_EFFECT}.items()]
    return "\n".join(["usage: python -m serving.tf_model_server", *lines])


if __name__ == "__main__":
    sys.exit(main())
