"""TensorFlow Serving's configuration files: protobuf text to this server's own settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from serving import protos
from serving.errors import RequestError, ServingError
from serving.runtime.batching import BatchOptions
from serving.runtime.loading import base_path_location
from serving.runtime.rest_api import METRICS_PATH
from serving.runtime.servables import ModelSettings, Policy

PLATFORMS = ("tensorflow", "onnx", "tensorrt")


def read_message(path: str | Path, message: str) -> Any:
    """A file in protobuf's text format.

    Args:
        path: the file.
        message: the message's name in ``serving.protos``.

    Raises:
        ServingError: it cannot be read; with line and column.
    """
    found = getattr(protos, message)()
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ServingError(f"{path} cannot be read: {error}") from error
    try:
        return text_format.Parse(text, found)
    except text_format.ParseError as error:
        # The words that TensorFlow Serving has for it, then where.
        raise ServingError(
            f"Error parsing text-format tensorflow.serving.{message}: {path}:{error}"
        ) from error


def models_of(
    config: Any, running: Mapping[str, ModelSettings] | None = None
) -> list[ModelSettings]:
    """The models of a ``ModelServerConfig``.

    Args:
        config: the message.
        running: models that are served now, whose platform may not change.

    Raises:
        RequestError: it contradicts itself, in TensorFlow Serving's words.
    """
    found: dict[str, ModelSettings] = {}
    for model in config.model_config_list.config:
        if not model.name:
            raise RequestError("A model of the config has no name.")
        if model.name in found:
            raise RequestError(f"Illegal to list model {model.name} multiple times in config list")
        platform = _platform(model)
        base = model.base_path
        if not base.startswith("/") and "://" not in base:
            raise RequestError(
                f"Expected model {model.name} to have an absolute path or URI; "
                f"got base_path()={base}"
            )
        known = (running or {}).get(model.name)
        if known is not None and known.platform != platform:
            raise RequestError(
                f"Illegal to change a model's platform. For model {model.name} platform was "
                f"{known.platform} and new platform requested is {platform}"
            )
        found[model.name] = ModelSettings(
            model.name, base_path_location(base, model.name), _policy(model.model_version_policy),
            dict(model.version_labels), platform,
        )  # fmt: skip
    return list(found.values())


def _platform(model: Any) -> str:
    if model.model_platform in PLATFORMS:
        return model.model_platform
    if model.model_platform:
        raise RequestError(
            f"Model {model.name} requests unsupported platform {model.model_platform}"
        )
    if model.model_type == 1:
        return "tensorflow"
    raise RequestError(
        "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
        f"ModelServerConfig::model_platform, model name is {model.name}"
    )


def _policy(message: Any) -> Policy:
    choice = message.WhichOneof("policy_choice")
    if choice == "all":
        return Policy("all")
    if choice == "specific":
        return Policy("specific", versions=tuple(message.specific.versions))
    return Policy("latest", count=message.latest.num_versions or 1)


def metrics_path(path: str | Path) -> str | None:
    """Path of Prometheus's page in a monitoring file; None if it is not enabled.

    Raises:
        ServingError: the file cannot be read.
    """
    config = read_message(path, "MonitoringConfig").prometheus_config
    return (config.path or METRICS_PATH) if config.enable else None


def batch_options(path: str | Path | None) -> BatchOptions:
    """Options of a batching file, with TensorFlow Serving's defaults.

    Raises:
        ServingError: the file cannot be read, or contradicts itself.
    """
    options = BatchOptions(max_rows=1000, splits=False, vouched=True)
    if path is None:
        return options
    config = read_message(path, "BatchingParameters")
    if config.HasField("max_batch_size"):
        options = replace(options, max_rows=config.max_batch_size.value)
    if config.HasField("batch_timeout_micros"):
        options = replace(options, delay_seconds=config.batch_timeout_micros.value / 1e6)
    if config.HasField("num_batch_threads"):
        options = replace(options, workers=config.num_batch_threads.value)
    limit = options.max_rows
    splits = config.enable_large_batch_splitting.value
    if splits and config.HasField("max_execution_batch_size"):
        options = replace(options, max_rows=config.max_execution_batch_size.value)
    allowed = tuple(config.allowed_batch_sizes)
    if allowed and (list(allowed) != sorted(set(allowed)) or allowed[-1] != options.max_rows):
        raise ServingError(
            f"{path}: allowed_batch_sizes {list(allowed)} must increase and end with "
            f"{options.max_rows}, the largest batch"
        )
    if min(options.max_rows, options.workers) < 1:
        raise ServingError(f"{path}: max_batch_size and num_batch_threads must be at least 1")
    waiting = 10
    if config.HasField("max_enqueued_batches"):
        waiting = config.max_enqueued_batches.value
    return replace(
        options, allowed_rows=allowed, splits=splits, max_waiting=max(1, waiting * limit)
    )
