"""What a GPU would do for one model: the stage behind ``seqloom doctor RUN|TASK``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tasks.stages.networks import built
from tasks.stages.training import policy, prepare

if TYPE_CHECKING:
    import keras

    from models.cudnn import KernelChoice
    from pipelines.splits import Splits
    from tasks.kinds.contract import Settings, Task


def new_model(task: Task, settings: Settings, splits: Splits) -> keras.Model:
    """The model that a training would begin with."""
    ready = prepare(task, settings, splits)
    with policy(settings):
        return built(task, settings, ready.preprocessor, ready.counts)


def kernels_of(model: keras.Model) -> tuple[list[dict[str, Any]], str]:
    """A row for each recurrent layer, and what there is to say about all of them.

    Returns:
        Rows of ``layer``, ``type``, ``units``, ``directions``, ``mask``, ``cudnn`` (whether Keras
        takes cuDNN's kernel on a GPU) and ``why`` it does not; and sentences, one a line.
    """
    from models.cudnn import kernel_choices

    found = kernel_choices(model)
    rows = [
        {
            "layer": one.layer, "type": one.kind, "units": one.units,
            "directions": 2 if one.both_ways else 1, "mask": one.masked,
            "cudnn": one.cudnn, "why": "; ".join(one.obstacles),
        }
        for one in found
    ]  # fmt: skip
    return rows, "\n".join(_sentences(found))


def _sentences(found: Sequence[KernelChoice]) -> list[str]:
    if not found:
        return ["this model has no recurrent layer; a GPU runs its operations as they are"]
    count = sum(one.cudnn for one in found)
    all_of = f"{count} of {len(found)} recurrent {'layer' if len(found) == 1 else 'layers'}"
    lines = [f"on a GPU, Keras trains {all_of} with cuDNN's kernels"]
    if any(one.cudnn and one.masked for one in found):
        lines.append(
            "layers with a mask: cuDNN takes rows that are padded on the right and not empty, as "
            "Seqloom makes them, and stops at others"
        )
    lines.append(
        "exports hold no cuDNN kernel; ONNX Runtime and TensorRT bring kernels of their own"
    )
    return lines
