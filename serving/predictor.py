"""Answers from a bundle's ONNX model with neither TensorFlow nor Keras in the process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnxruntime

from pipelines.preprocessor import Arrays, load_preprocessor
from serving.bundle import read_manifest
from serving.errors import ServingError


class OnnxModel:
    """A directory with ``model.onnx`` and its preprocessor: wire arrays to wire arrays.

    Args:
        directory: such as ``BUNDLE/onnx/1``.
        threads: of ONNX Runtime; its own choice unless told.

    Raises:
        ServingError: there is no model, or it cannot be loaded.
    """

    def __init__(self, directory: str | Path, threads: int | None = None) -> None:
        path = Path(directory) / "model.onnx"
        if not path.is_file():
            raise ServingError(f"{path} is not there; export one with `--format onnx`")
        self.preprocessor = load_preprocessor(directory)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if threads:
            options.intra_op_num_threads = threads
        try:
            self.session = onnxruntime.InferenceSession(
                path, options, providers=onnxruntime.get_available_providers()
            )
        except Exception as error:  # noqa: BLE001  its errors share no base but this one
            raise ServingError(f"{path} cannot be loaded by ONNX Runtime: {error}") from error
        self._outputs = [output.name for output in self.session.get_outputs()]

    def run(self, inputs: Arrays) -> Arrays:
        """Wire inputs to wire outputs, as the served signature has them."""
        return self.preprocessor.decode(self.execute(self.preprocessor.encode(inputs)))

    def execute(self, core: Arrays) -> Arrays:
        """What the preprocessor encoded to what it decodes."""
        got = self.session.run(self._outputs, core)
        return dict(zip(self._outputs, got, strict=True))


class Predictor:
    """One version of a bundle: raw inputs to readable answers, or wire arrays to wire arrays.

    Args:
        bundle: directory that ``seqloom export`` wrote.
        version: of the model; the manifest's unless told.
        threads: of ONNX Runtime; its own choice unless told.

    Raises:
        ServingError: the bundle holds no ONNX model of that version, or it cannot be loaded.
    """

    def __init__(
        self, bundle: str | Path, version: int | None = None, threads: int | None = None
    ) -> None:
        self.manifest = read_manifest(bundle)
        try:
            self.name: str = self.manifest["name"]
            self.version: int = version or self.manifest["version"]
        except KeyError as error:
            raise ServingError(
                f"{bundle}/manifest.json has no {error}; write it anew with `seqloom export`"
            ) from error
        self.model = OnnxModel(Path(bundle) / "onnx" / str(self.version), threads)
        self.preprocessor = self.model.preprocessor
        self.signature = self.preprocessor.signature

    def run(self, inputs: Arrays) -> Arrays:
        """Wire inputs to wire outputs, as the served signature has them."""
        return self.model.run(inputs)

    def predict(self, raw: Sequence[Any]) -> list[dict[str, Any]]:
        """Readable answers, one a raw input."""
        if not raw:
            return []
        return self.preprocessor.answers(self.run(self.preprocessor.to_wire(raw)), raw)
