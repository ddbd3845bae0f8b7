"""From a saved Keras model to a bundle, and answers of such a bundle."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import ConfigError, DataError
from tasks.stages.console import load_tensorflow
from tasks.stages.directories import bundle_for

if TYPE_CHECKING:
    import keras

    from serving.client import Client
    from serving.export import ExportOptions

EXTENSIONS = (".keras", ".h5", ".hdf5")


def is_keras_file(path: Path) -> bool:
    """Whether a path is said to be that of a saved Keras model."""
    return path.suffix.lower() in EXTENSIONS and not path.is_dir()


def export_keras_file(
    path: Path,
    examples: Path | None,
    custom_objects: Path | None,
    out: Path | None,
    options: ExportOptions,
) -> dict[str, Any]:
    """Exports a saved model: see ``serving.export_model``.

    Args:
        path: of the model.
        examples: file of inputs, see ``pipelines.tensor_files``.
        custom_objects: Python file with the layers, functions and converters of its own.
        out: bundle; beside the model, under its name, if None.
        options: formats, precisions and bounds.

    Returns:
        As ``tasks.stages.exporting.export``, with ``notes`` and ``refused``.

    Raises:
        DataError: a file is missing or cannot be read.
        ServingError: see ``serving.export_model``.
    """
    if not path.is_file():
        raise DataError(
            f"{path}: there is no such file; give a model that model.save(...) wrote, or a run"
        )
    if (path.parent / "config.json").is_file():
        raise DataError(f"{path} belongs to a run; use `seqloom export {path.parent}`")
    if examples is None:
        raise DataError(
            f"{path}: --examples FILE is missing: inputs (npz, npy, jsonl or csv) by which each "
            "export is compared with Keras"
        )
    if not examples.is_file():
        raise DataError(f"--examples {examples}: there is no such file")
    from pipelines.tensors import identifier

    bundle = bundle_for(out or path.with_name(f"{path.stem}-bundle"), identifier(path.stem))
    load_tensorflow()  # only now: what is wrong with the files is said at once
    from serving.keras_models import export_keras_model

    model = load_keras_file(path, custom_objects)
    manifest = export_keras_model(model, bundle, examples, None, options, path.stem)
    for artefact in manifest["artifacts"].values():
        artefact.pop("sha256", None)
    keys = ("version", "keras", "artifacts")
    return {
        "bundle": str(bundle),
        "metric": "",
        "model": str(path),
        **{key: manifest[key] for key in keys},
        "notes": manifest["remarks"],
        "refused": manifest.get("refused", {}),
    }


def load_keras_file(path: Path, custom_objects: Path | None = None) -> keras.Model:
    """A saved model, not compiled.

    Raises:
        DataError: it cannot be loaded; the message says which class or function is missing.
    """
    import keras

    from models import own_code

    known: dict[str, Any] = {}
    if custom_objects is not None:
        source = read_source(custom_objects, "--custom-objects")
        module = own_code.module_of(source, str(custom_objects))
        known = own_code.custom_objects(module)
    try:
        return keras.saving.load_model(path, custom_objects=known, compile=False)
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ or cause.__context__:  # Keras wraps what is missing in its configs
            cause = cause.__cause__ or cause.__context__
        text = " ".join(str(cause).split()).partition(". ")[0]
        hint = (
            ""
            if custom_objects
            else ("; layers and functions of your own come with --custom-objects FILE.py")
        )
        raise DataError(f"{path} cannot be loaded as a Keras model: {text[:300]}{hint}") from error


def read_source(path: Path, flag: str) -> str:
    """The text of a Python file.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{flag} {path} cannot be read: {error}") from error


def is_tensor_bundle(place: Path) -> bool:
    """Whether a bundle's model takes tensors and has no task."""
    from serving.bundle import read_manifest

    return (place / "manifest.json").is_file() and read_manifest(place).get("kind") == "tensors"


def predict_tensors(
    bundle: Path, inputs: Sequence[str], file: Path | None, client: Client | None = None
) -> list[dict[str, Any]]:
    """Answers of such a bundle, without TensorFlow.

    Args:
        bundle: that ``export_keras_file`` wrote.
        inputs: rows as JSON: an object by input, or the only input by itself.
        file: with more rows.
        client: of a server that answers in its place.

    Raises:
        DataError: an input is no JSON or does not go with the model, or there is none.
    """
    from pipelines.tensor_files import read_tensor_rows
    from serving.predictor import Predictor

    predictor = Predictor(bundle)
    specs = predictor.signature["inputs"]
    rows: list[Any] = []
    for text in inputs:
        try:
            rows.append(json.loads(text))
        except ValueError as error:
            raise DataError(f"input {text!r} is no JSON: {error}") from error
    if file is not None:
        rows += read_tensor_rows(file, specs)
    if not rows:
        raise DataError("there is no input; give rows as JSON, or --file FILE")
    if client is not None:
        answered = client.predict(predictor.preprocessor.to_request(rows))
        return predictor.preprocessor.answers(answered, rows)
    return predictor.predict(rows)
