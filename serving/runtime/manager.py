"""The models and versions that are served: finds new ones, loads them, and unloads old ones.

A new version is loaded and warmed before the one that it replaces goes, so that there is never a
moment without one. TensorFlow Serving calls that its AvailabilityPreservingPolicy.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.errors import RequestError, ServingError
from serving.runtime.runners import Backend
from serving.runtime.servables import ModelSettings, Servable, State, not_found

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WatchOptions:
    """How directories are watched.

    Attributes:
        poll_seconds: seconds between two looks; 0 looks once, at the start.
        retries: how often a version that failed to load is tried again.
        retry_seconds: seconds between two tries.
        labels_ahead: a label may be given to a version that is not there yet.
    """

    poll_seconds: float = 1.0
    retries: int = 5
    retry_seconds: float = 60.0
    labels_ahead: bool = False


class ModelManager:
    """Loads and unloads the models of a server.

    Attributes:
        started: whether the first models are available.
        stopping: set when the server ends.

    Args:
        load: name, directory and backend's name of a version to its backend and its batcher.
        watching: polling and retries.
        on_change: called with one line whenever something changes.
    """

    def __init__(
        self,
        load: Callable[[str, Path, str | None], tuple[Backend, Any]],
        watching: WatchOptions | None = None,
        on_change: Callable[[str], None] = lambda line: logger.info("%s", line),
    ) -> None:
        self._load, self.watching, self._report = load, watching or WatchOptions(), on_change
        self._models: dict[str, ModelSettings] = {}
        self._servables: dict[str, dict[int, Servable]] = {}
        # Versions of models that were taken out; a model that comes back begins anew.
        self._past: dict[str, dict[int, Servable]] = {}
        self._labels: dict[str, dict[str, int]] = {}
        # Held while models change; requests take only what is there and never wait for it.
        self._changing = threading.RLock()
        self.stopping, self.started = threading.Event(), False
        self._thread: threading.Thread | None = None
        self._reported: dict[str, str] = {}

    # --- what requests ask for -----------------------------------------------------------------

    @contextlib.contextmanager
    def use(
        self, name: str, version: int | None = None, label: str | None = None
    ) -> Iterator[Servable]:
        """A version, kept loaded for the time of one request: the highest one if none is named.

        Raises:
            RequestError: there is no such model, version or label.
        """
        servable = self._enter(name, version, label)
        try:
            yield servable
        finally:
            servable.leave()

    def _enter(self, name: str, version: int | None, label: str | None) -> Servable:
        if label is not None:
            version = self._labels.get(name, {}).get(label)
            if version is None:
                raise RequestError(f"Unrecognized servable version label: {label}")
        found = self._servables.get(name, {})
        if version is not None:
            if version in found and found[version].enter():
                return found[version]
            raise not_found(name, version)
        while True:
            ready = [s for s in list(found.values()) if s.state is State.AVAILABLE]
            if not ready:
                raise not_found(name)
            newest = max(ready, key=lambda servable: servable.version)
            if newest.enter():  # else it has gone just now, after another one came
                return newest

    def versions(self, name: str, version: int | None = None) -> list[Servable]:
        """All versions of a model that were ever seen, newest first, or the one asked for.

        Raises:
            RequestError: NOT_FOUND.
        """
        found = {**self._past.get(name, {}), **self._servables.get(name, {})}
        if not found:
            raise RequestError(f"Could not find any versions of model {name}", code="NOT_FOUND")
        if version is None:
            return [found[number] for number in sorted(found, reverse=True)]
        if version not in found:
            raise RequestError(
                f"Could not find version {version} of model {name}", code="NOT_FOUND"
            )
        return [found[version]]

    @property
    def settings(self) -> dict[str, ModelSettings]:
        """Settings of all models, by name."""
        return dict(self._models)

    # --- what changes --------------------------------------------------------------------------

    def start(self, models: Iterable[ModelSettings], wait: bool = False) -> None:
        """Loads the first models and then watches.

        Args:
            models: settings of each model.
            wait: whether to wait until every model has a version; otherwise a model without one is
                an error.

        Raises:
            ServingError: a model did not become available.
        """
        self._models = {model.name: model for model in models}
        while True:
            with self._changing:
                self._look()
                failed = self._failures()
                missing = [name for name in self._models if not self._available(name)]
            if failed and not wait:
                raise ServingError("; ".join(servable.error[1] for servable in failed))
            if failed and not any(self._waits_to_retry(name) for name in missing):
                raise ServingError(failed_text(failed))
            if not missing or not wait:
                break
            if self.stopping.wait(max(0.05, min(self.watching.poll_seconds, 1.0))):
                return
        if missing:
            raise ServingError(f"no version of {', '.join(missing)} could be loaded")
        with self._changing:
            for model in self._models.values():
                self._label(model)
        self.started = True
        if self.watching.poll_seconds > 0:
            self._thread = threading.Thread(target=self._watch, name="versions", daemon=True)
            self._thread.start()

    def replace(self, models: Iterable[ModelSettings]) -> dict[str, ModelSettings]:
        """Serves these models instead; versions that are there are loaded when it returns.

        Returns:
            The models without a version so far, to be asked for by ``missing``.

        Raises:
            RequestError: one did not become available, or a label names a version that is not
                there; the other changes are made all the same.
        """
        with self._changing:
            wanted = {model.name: model for model in models}
            for model in wanted.values():
                self._check_labels(model)
            # One that was served before and lost its versions is not waited for.
            new = {n: m for n, m in wanted.items() if not self._servables.get(n)}
            self._models = wanted
            self._look()
            return self.missing(new, seen=wanted)

    def missing(
        self, awaited: Mapping[str, ModelSettings], seen: Iterable[str] | None = None
    ) -> dict[str, ModelSettings]:
        """Which of the models that ``replace`` gave have no version yet; others get their labels.

        Args:
            awaited: settings by name, as ``replace`` gave them.
            seen: names of the models that are looked at; those of ``awaited`` if None.

        Raises:
            RequestError: UNKNOWN: one failed to load; ABORTED: another reload has other settings.
        """
        with self._changing:
            if any(self._models.get(name) is not model for name, model in awaited.items()):
                raise RequestError("Another reload has replaced the models.", code="ABORTED")
            names = set(awaited if seen is None else seen)
            failed = [servable for servable in self._failures() if servable.name in names]
            if failed:
                raise RequestError(failed_text(failed), code="UNKNOWN")
            left = {name: m for name, m in awaited.items() if not self._available(name)}
            for name in names - left.keys():
                self._label(self._models[name])
            return left

    def look(self) -> None:
        """Looks for versions once, where nothing watches."""
        if self._thread is None:
            with self._changing:
                self._look()

    def stop(self, timeout: float = 30.0) -> None:
        """Unloads everything, once the requests under way are answered."""
        self.stopping.set()
        if self._thread is not None:
            self._thread.join(timeout)
        with self._changing:
            for versions in [*self._past.values(), *self._servables.values()]:
                for servable in versions.values():
                    servable.unload(timeout)

    def _watch(self) -> None:
        while not self.stopping.wait(self.watching.poll_seconds):
            with self._changing:
                try:
                    self._look()
                    for model in self._models.values():
                        with contextlib.suppress(RequestError):
                            self._label(model)
                except Exception:  # whatever it is, what is served stays served
                    logger.exception("looking for versions failed")

    def _look(self) -> None:
        """Compares what is wanted with what is there, and acts on the difference."""
        for name in set(self._servables) - set(self._models):
            for servable in self._servables[name].values():
                self._unload(servable)
            self._past.setdefault(name, {}).update(self._servables.pop(name))
            self._labels.pop(name, None)
        for model in self._models.values():
            wanted = self._wanted(model)
            if wanted is not None:
                self._reconcile(model, wanted)

    def _wanted(self, model: ModelSettings) -> dict[int, Path] | None:
        """Directories of the versions to serve; None while the directory cannot be read."""
        try:
            present = model.location.versions()
        except OSError as error:
            self._report_once(
                model.name,
                f"Could not find base path {model.location.path} for servable {model.name} "
                f"with error {error.strerror or error}",
            )
            return None
        if not present:
            self._report_once(
                model.name,
                f"No versions of servable {model.name} found under base path "
                f"{model.location.path}. Did you forget to name your leaf directory as a number "
                "(eg. '/1/')?",
            )
        return {version: present[version] for version in model.policy.chosen(list(present))}

    def _reconcile(self, model: ModelSettings, wanted: dict[int, Path]) -> None:
        versions = self._servables.setdefault(model.name, {})
        for version, path in sorted(wanted.items()):
            known = versions.get(version)
            if known is not None and known.path != path:
                self._unload(known)
            # Never seen; served before, gone and come back; or broken, and written again.
            if known is None or known.state is State.END and known.is_stale(path):
                known = versions[version] = Servable(model.name, version, path)
            self._attempt(known, model.location.required)
        broken = any(versions[version].state is not State.AVAILABLE for version in wanted)
        for version in sorted(versions):
            servable = versions[version]
            if version in wanted or servable.state is State.END:
                continue
            serving = [s for s in versions.values() if s.state is State.AVAILABLE]
            if broken and serving == [servable] and wanted:
                continue  # what should take its place does not work
            self._unload(servable)

    def _attempt(self, servable: Servable, required: str | None) -> None:
        """Loads a version, if it is time for that."""
        if servable.state in (State.AVAILABLE, State.UNLOADING, State.END):
            return
        if time.monotonic() < servable.retry_at:
            return
        servable.load(lambda path: self._load(servable.name, path, required))
        identity = f"{{name: {servable.name} version: {servable.version}}}"
        if servable.state is State.AVAILABLE:
            self._report(f"Successfully loaded servable version {identity}")
            return
        if servable.attempts > self.watching.retries:
            servable.give_up()
            self._report(f"LoadOptions servable: {identity} failed: {servable.error[1]}")
            return
        servable.retry_at = time.monotonic() + self.watching.retry_seconds
        self._report(
            f"LoadOptions servable: {identity} failed: {servable.error[1]}; "
            f"it is tried again in {self.watching.retry_seconds:g} s"
        )

    def _unload(self, servable: Servable) -> None:
        if servable.state is State.END:
            return
        was = servable.state
        servable.leave_service()
        # Not waited for here: one slow request must not keep new versions from being loaded.
        threading.Thread(target=servable.unload, name="unload", daemon=True).start()
        if was is State.AVAILABLE:
            self._report(
                f"Unloading servable version {{name: {servable.name} version: {servable.version}}}"
            )

    def _available(self, name: str) -> bool:
        found = self._servables.get(name, {}).values()
        return any(servable.state is State.AVAILABLE for servable in found)

    def _waits_to_retry(self, name: str) -> bool:
        found = self._servables.get(name, {}).values()
        return any(servable.state is State.LOADING for servable in found)

    def _failures(self) -> list[Servable]:
        """Versions that failed to load, of models that have no other."""
        return [
            servable
            for name in self._models
            if not self._available(name)
            for servable in self._servables.get(name, {}).values()
            if servable.error[0] != "OK"
        ]

    def _check_labels(self, model: ModelSettings) -> None:
        """Labels go to versions that are available, or will be by this very change.

        Those of a model that has no version at all wait with it.
        """
        if self.watching.labels_ahead:
            return
        wanted = self._wanted(model)
        for version in model.labels.values() if wanted else ():
            if version not in wanted:
                raise _unavailable(model.name, version)

    def _label(self, model: ModelSettings) -> None:
        versions, known = self._servables.get(model.name, {}), self._labels.get(model.name, {})
        for label, version in model.labels.items():
            ready = version in versions and versions[version].state is State.AVAILABLE
            # A label that is new may be ahead of its version; one in use may not move there.
            ahead = self.watching.labels_ahead and known.get(label, version) == version
            if not ready and not ahead:
                raise _unavailable(model.name, version)
        self._labels[model.name] = dict(model.labels)

    def _report_once(self, about: str, line: str) -> None:
        """Once, and not at every look."""
        if self._reported.get(about) != line:
            self._reported[about] = line
            self._report(line)


def _unavailable(name: str, version: int) -> RequestError:
    return RequestError(
        f"Request to assign label to version {version} of model {name}, which is not currently "
        "available for inference",
        code="FAILED_PRECONDITION",
    )


def failed_text(failed: list[Servable]) -> str:
    """The error of models that could not be loaded, as TensorFlow Serving words it."""
    each = ", ".join(
        f"{{{{name: {servable.name} version: {servable.version}}} due to error: "
        f"{servable.error[0]}: {servable.error[1]}}}"
        for servable in failed
    )
    return f"{len(failed)} model(s) did not become available: {{{each}, }}"
