"""A network of the user's own: given to a task, and tried before anything is trained."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from common.errors import ConfigError, SeqloomError
from models.network import Network
from tasks.kinds.contract import Settings, Task
from tasks.stages.console import load_tensorflow

if TYPE_CHECKING:
    import keras

    from pipelines.preprocessor import Preprocessor


def with_network(task: Task, text: str | None) -> Task:
    """The task with the network that ``--network`` names; the task itself without.

    Raises:
        ConfigError: see ``Network.parsed``; or the task takes none.
    """
    if text is None:
        return task
    if not task.takes_network:
        return replace(task, network=Network("", "", text))  # says why
    load_tensorflow()  # which the user's file imports, with its chatter
    return replace(task, network=Network.parsed(text))


def built(task: Task, settings: Settings, preprocessor: Preprocessor, counts: Any) -> keras.Model:
    """The compiled model, with a sentence where the user's own network does not fit into it.

    Raises:
        ConfigError: see ``Network``; or Keras refuses it among the other layers.
    """
    try:
        return task.build(settings, preprocessor, counts)
    except SeqloomError:
        raise
    except ValueError as error:  # Keras's own, such as two layers of one name
        if task.network is None:
            raise
        text = " ".join(str(error).split())[:300]
        place = task.network.place
        raise ConfigError(f"network {place} does not fit into the model: {text}") from error


def network_notes(
    task: Task, settings: Settings, preprocessor: Preprocessor, counts: Any
) -> list[str]:
    """Builds the model once, and says what its layers cannot be exported as.

    Raises:
        ConfigError: the network cannot be used, and why; nothing was trained.
    """
    if task.network is None:
        return []
    from serving.keras_models import onnx_reason

    if getattr(settings.model, "encoder", ""):
        raise ConfigError("--encoder gives weights to the recurrent layers, not to a --network")
    place = task.network.place
    model = built(task, settings, preprocessor, counts)
    try:
        cores = task.cores(model)
    except SeqloomError as error:
        raise ConfigError(f"network {place}: {error}") from error
    reason = next(filter(None, map(onnx_reason, cores.values())), None)
    if reason is None:
        return []
    return [
        f"network {place}: {reason}. Without it there is no ONNX, no TensorRT and no server without"
        " TensorFlow; the SavedModel can be exported"
    ]
