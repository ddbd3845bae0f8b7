"""Classify and regress: tf.Example in, labels and scores out, by TensorFlow Serving's rules.

They feed serialized ``tf.Example`` messages to a SavedModel that parses them itself; its
classifier.cc and regressor.cc are the source of the rules and the messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipelines.ragged import Arrays
from serving.errors import RequestError
from serving.runtime.runners import Backend
from serving.runtime.signatures import DEFAULT_SIGNATURE
from serving.tensors import to_array

INPUT, CLASSES, SCORES, VALUES = "inputs", "classes", "scores", "outputs"


def examples_of(request_input: Any) -> np.ndarray:
    """An ``Input`` message as serialized examples.

    Returns:
        ``<bytes>[n]``.

    Raises:
        RequestError: there is none.
    """
    kind = request_input.WhichOneof("kind")
    found = []
    if kind == "example_list":
        found = [example.SerializeToString() for example in request_input.example_list.examples]
    elif kind == "example_list_with_context":
        both = request_input.example_list_with_context
        # Messages concatenated are messages merged.
        context = both.context.SerializeToString()
        found = [context + example.SerializeToString() for example in both.examples]
    if not found:
        raise RequestError("Input is empty.")
    array = np.empty(len(found), object)
    array[:] = found
    return array


def check_classification(signature: Mapping[str, Any]) -> None:
    """Refuses signatures that do not classify.

    Raises:
        RequestError: in the words of classifier.cc.
    """
    _check_input(signature, "classification")
    outputs = signature["outputs"]
    if len(outputs) not in (1, 2):
        raise RequestError(f"Expected one or two output Tensors, found {len(outputs)}")
    if not {CLASSES, SCORES} & set(outputs):
        raise RequestError(
            "Expected classification signature outputs to contain at least one of "
            f'"{CLASSES}" or "{SCORES}". Signature was: {sorted(outputs)}'
        )


def check_regression(signature: Mapping[str, Any]) -> None:
    """Refuses signatures that do not regress.

    Raises:
        RequestError: in the words of regressor.cc.
    """
    _check_input(signature, "regression")
    if len(signature["outputs"]) != 1:
        raise RequestError("Expected one output Tensor.")
    if VALUES not in signature["outputs"]:
        raise RequestError(
            f"No regression outputs found in SignatureDef: {sorted(signature['outputs'])}"
        )


def _check_input(signature: Mapping[str, Any], kind: str) -> None:
    inputs = signature["inputs"]
    # Further inputs may be left out where they have defaults; upstream refuses those signatures.
    others = [name for name in inputs if name != INPUT and "default" not in inputs[name]]
    if not inputs or (others and len(inputs) > 1):
        raise RequestError("Expected one input Tensor.")
    if INPUT not in inputs:
        raise RequestError(f"No {kind} inputs found in SignatureDef: {sorted(signature['inputs'])}")


def classifications(outputs: Arrays, count: int) -> list[list[tuple[str | bytes, float]]]:
    """Labels and scores of each example.

    Raises:
        RequestError: the outputs have another form.
    """
    classes, scores = outputs.get(CLASSES), outputs.get(SCORES)
    for array in (classes, scores):
        if array is None:
            continue
        if array.ndim != 2:
            shape = ",".join(map(str, array.shape))
            raise RequestError(f"Expected Tensor shape: [batch_size num_classes] but got [{shape}]")
        if len(array) != count:
            raise RequestError(f"Expected output batch size of {count} but got {len(array)}")
    wide = (classes if classes is not None else scores).shape[1]
    return [
        [
            (
                classes[row, column] if classes is not None else b"",
                float(scores[row, column]) if scores is not None else 0.0,
            )
            for column in range(wide)
        ]
        for row in range(count)
    ]


def regressions(outputs: Arrays, count: int) -> list[float]:
    """One number for each example.

    Raises:
        RequestError: the output has another form.
    """
    array = outputs[VALUES]
    if array.ndim not in (1, 2) or (array.ndim == 2 and array.shape[1] != 1):
        shape = ",".join(map(str, array.shape))
        raise RequestError(f"Expected output Tensor shape to be either [batch_size] or "
                           f"[batch_size, 1] but got [{shape}]")  # fmt: skip
    if len(array) != count:
        raise RequestError(f"Expected output batch size to be {count}. Got: {len(array)}")
    return [float(value) for value in array.reshape(-1)]


def infer_log(backend: Backend, log: Any) -> None:
    """Runs one recorded request of a warm-up file; what it answers is not looked at.

    Raises:
        RequestError: it fails, or is of a kind that is not served.
    """
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        request = log.predict_log.request
        inputs = {name: to_array(proto) for name, proto in request.inputs.items()}
        name = request.model_spec.signature_name or DEFAULT_SIGNATURE
        backend.run(inputs, name, list(request.output_filter))
        return
    if kind in ("classify_log", "regress_log"):
        request = getattr(log, kind).request
        name = request.model_spec.signature_name or DEFAULT_SIGNATURE
        backend.run({INPUT: examples_of(request.input)}, name)
        return
    if kind == "multi_inference_log":
        request = log.multi_inference_log.request
        for task in request.tasks:
            name = task.model_spec.signature_name or DEFAULT_SIGNATURE
            backend.run({INPUT: examples_of(request.input)}, name)
        return
    raise RequestError(f"Unsupported log_type for warmup: {kind}", code="UNIMPLEMENTED")
