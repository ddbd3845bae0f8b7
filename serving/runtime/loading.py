"""Finds models in directories, and loads the backend that runs them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serving.bundle import read_manifest
from serving.errors import ServingError
from serving.runtime.runners import Backend
from serving.runtime.signatures import replace_defaults

# In the order of preference: the lightest first.
FILES = {
    "onnx": ("*.onnx",),
    "savedmodel": ("saved_model.pb", "saved_model.pbtxt", "saved_model.cpb"),
    "tensorrt": ("*.plan",),
}
BACKENDS = tuple(FILES)


@dataclass(frozen=True)
class LoadOptions:
    """How models are loaded.

    Attributes:
        threads: number of threads for one batch. If None, TensorFlow chooses and ONNX Runtime takes
            one: batches run side by side already, and its idle threads would spin.
        tags: tags of a SavedModel's MetaGraph.
        warm: whether the recorded requests are run after loading.
        decoding: new defaults for inputs that have one, such as ``{"temperature": 0.7}``, in every
            signature that has such an input.
    """

    threads: int | None = None
    tags: tuple[str, ...] = ("serve",)
    warm: bool = True
    decoding: Mapping[str, Any] = field(default_factory=dict)


def kind_of(directory: Path) -> str | None:
    """Name of the backend that a version's directory is for; None if it holds no model."""
    for kind, names in FILES.items():
        if any(path.is_file() for name in names for path in directory.glob(name)):
            return kind
    return None


def load(directory: Path, kind: str | None = None, how: LoadOptions | None = None) -> Backend:
    """Loads and warms one version.

    Args:
        directory: the version's directory.
        kind: one of ``BACKENDS``; if None, the first that the directory has files for.
        how: options of loading.

    Raises:
        ServingError: there is no such model, it cannot be loaded, or it has no such setting.
    """
    how = how or LoadOptions()
    backend = _made(directory, kind or kind_of(directory), how)
    try:
        replace_defaults(backend.signatures, how.decoding)
        if how.warm:
            backend.warm()
    except Exception:
        backend.close()
        raise
    return backend


def _made(directory: Path, kind: str | None, how: LoadOptions) -> Backend:
    """The backend of a version, not yet warmed."""
    # Imported here, not above: a server of ONNX models must not pull TensorFlow in.
    if kind == "onnx":
        from serving.runtime.core_backends import OnnxBackend

        return OnnxBackend(directory, how.threads or 1)
    if kind == "tensorrt":
        from serving.runtime.core_backends import TensorRTBackend

        return TensorRTBackend(directory)
    if kind == "savedmodel":
        from serving.runtime.savedmodel_backend import SavedModelBackend

        return SavedModelBackend(directory, how.tags, how.threads)
    raise ServingError(f"{directory} holds no model: none of {', '.join(sum(FILES.values(), ()))}")


@dataclass(frozen=True)
class ModelLocation:
    """Where a model's versions are.

    Attributes:
        path: the path as it was given.
        roots: directories with one child per version, by backend; the name "" stands for
            whatever ``kind_of`` finds.
        single: number and directory of the only version, where ``path`` is itself a model.
        name: the model's own name.
        required: one of ``BACKENDS``, if one was asked for.
    """

    path: Path
    roots: Mapping[str, Path]
    single: tuple[int, Path] | None = None
    name: str = "default"
    required: str | None = None

    def versions(self) -> dict[int, Path]:
        """Directories by version, now.

        A version is a child whose name is a whole number, also with leading zeros, as in
        TensorFlow Serving.

        Raises:
            OSError: no root can be read.
        """
        if self.single:
            return dict([self.single])
        found: dict[int, Path] = {}
        missing: OSError | None = None
        for root in reversed(self.roots.values()):  # so that the preferred backend's stay
            try:
                children = sorted(root.iterdir())
            except OSError as error:
                missing = error
                continue
            for child in children:
                if child.name.isascii() and child.name.isdigit() and int(child.name) < 2**63:
                    found[int(child.name)] = child
        if missing is not None and not found:
            raise missing
        return found


def base_path_location(path: str | Path, name: str) -> ModelLocation:
    """A base path as TensorFlow Serving takes it; or a bundle, whose ``onnx`` it then is."""
    path = Path(path)
    if (path / "manifest.json").is_file():
        return find_model(path)
    return ModelLocation(path, {"": path}, name=name)


def find_model(path: str | Path, backend: str | None = None) -> ModelLocation:
    """Finds what ``seqloom serve`` is given: a bundle, a model, or versions of a model.

    Args:
        path: BUNDLE; a directory with ``saved_model.pb``; or one with ``<version>/`` of models.
        backend: one of ``BACKENDS``; if None, ONNX where the bundle has it.

    Raises:
        ServingError: nothing servable is there, or not for that backend.
    """
    path = Path(path)
    if backend not in (None, *BACKENDS):
        raise ServingError(f"--backend {backend} is not known; choose {' or '.join(BACKENDS)}.")
    if not path.is_dir():
        raise ServingError(f"{path} is not a directory; give one that `seqloom export` wrote.")
    if (path / "manifest.json").is_file():
        return _bundle_location(path, backend)
    resolved = path.resolve()
    kind = kind_of(path)
    location = ModelLocation(path, {"": path}, name=resolved.name, required=backend)
    if kind:
        number = resolved.name.isascii() and resolved.name.isdigit()
        name = resolved.parent.name if number else resolved.name
        version = int(resolved.name) if number else 1
        location = ModelLocation(path, {}, (version, path), name, backend)
    kinds = {kind_of(directory) for directory in location.versions().values()} - {None}
    if not kinds:
        raise ServingError(
            f"{path} has no manifest.json and holds no model; "
            "write a bundle with `seqloom export RUN --out BUNDLE`."
        )
    if backend and backend not in kinds:
        raise ServingError(
            f"{path} holds no {FILES[backend][0]}: serve it with "
            f"`--backend {min(kinds)}`, or write a bundle with `seqloom export`."
        )
    return location


def _bundle_location(bundle: Path, backend: str | None) -> ModelLocation:
    """A bundle's versions for the wanted backend, or for the lightest that each has."""
    manifest = read_manifest(bundle)
    try:
        name, _ = str(manifest["name"]), int(manifest["version"])
    except (ValueError, KeyError, TypeError) as error:
        raise ServingError(
            f"{bundle / 'manifest.json'} lacks a name or a version ({error!r}); "
            "write it again with `seqloom export`."
        ) from error
    wanted = [backend] if backend else ["onnx", "savedmodel"]
    roots = {kind: bundle / kind for kind in wanted if (bundle / kind).is_dir()}
    if roots:
        return ModelLocation(bundle, roots, name=name, required=backend)
    if backend is None:
        raise ServingError(
            f"{bundle} holds neither {bundle / 'onnx'} nor {bundle / 'savedmodel'}; "
            "write it again with `seqloom export`."
        )
    raise ServingError(
        f"{bundle / backend} does not exist; add it with `seqloom export RUN --format {backend}` "
        f"or drop `--backend {backend}`."
    )
