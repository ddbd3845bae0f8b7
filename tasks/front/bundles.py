"""An exported model as an object, and a server of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving.bundle import read_manifest
from tasks.front.asking import answers_of
from tasks.front.showing import frame_html, heading
from tasks.stages.directories import BUNDLE, required
from tasks.stages.predicting import Answerer

if TYPE_CHECKING:
    import pandas as pd

    from pipelines.frames import Source
    from serving.client import Client


class ExportedBundle:
    """A bundle: what was exported, how close it is to Keras, and its answers without TensorFlow.

    Args:
        path: its directory.

    Attributes:
        path: its directory.
        manifest: what ``manifest.json`` says.

    Raises:
        SeqloomError: the directory is no bundle.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = required(Path(path), BUNDLE)
        self.manifest = read_manifest(self.path)

    @cached_property
    def _answerer(self) -> Answerer:
        return Answerer(self.path)

    @property
    def parity(self) -> pd.DataFrame:
        """Keras and each artefact: greatest difference, the same labels, score, latency, size."""
        import pandas as pd

        from reports.tables import artifact_rows

        metric = self._answerer.trained_task.metric.name
        rows = artifact_rows({**self.manifest, "bundle": str(self.path), "metric": metric})
        return pd.DataFrame(rows).set_index("format")

    def predict(
        self, inputs: Source | Sequence[Any], program: str | None = None, **flags: Any
    ) -> list[dict[str, Any]] | pd.DataFrame:
        """Answers of the ONNX model; see ``TrainedRun.predict``."""
        return answers_of(self._answerer, inputs, program, flags)

    @contextmanager
    def serve(self, rest_port: int = 0, grpc_port: int = 0) -> Iterator[RunningServer]:
        """A server of the bundle in a thread of this process, until the block ends.

        Args:
            rest_port: 0 picks a free one.
            grpc_port: likewise.

        Raises:
            ServingError: a port is taken, or the model cannot be loaded.
        """
        from serving.runtime.server import ServerOptions, running

        options = ServerOptions(rest_port=rest_port, grpc_port=grpc_port)
        with running(self.path, options=options) as server:
            yield RunningServer(self, server.rest_port, server.grpc_port)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    def _repr_html_(self) -> str:
        about = f"{self.manifest['task']}, version {self.manifest['version']}"
        shown = self.parity.reset_index().drop(columns="path", errors="ignore")
        reasons = [
            f"{name}: {item['status']}, not run: {item['reason']}"
            for name, item in self.manifest["artifacts"].items()
            if item.get("reason")
        ]
        return heading("Bundle", self.path, about) + frame_html(shown, reasons)


class RunningServer:
    """A server that answers.

    Args:
        bundle: what it serves.
        rest_port: of REST.
        grpc_port: of gRPC.

    Attributes:
        url: of the model by REST, ``http://127.0.0.1:8501/v1/models/sentiment``.
        grpc_url: of the server by gRPC.
        client: asks it by REST, with arrays.
    """

    def __init__(self, bundle: ExportedBundle, rest_port: int, grpc_port: int) -> None:
        from serving.client import Client

        name = bundle.manifest["name"]
        self._answerer = bundle._answerer
        self.rest_port, self.grpc_port = rest_port, grpc_port
        self.url = f"http://127.0.0.1:{rest_port}/v1/models/{name}"
        self.grpc_url = f"grpc://127.0.0.1:{grpc_port}/v1/models/{name}"
        self.client: Client = Client(self.url)

    def predict(
        self, inputs: Source | Sequence[Any], program: str | None = None, **flags: Any
    ) -> list[dict[str, Any]] | pd.DataFrame:
        """Answers of the server, over REST; see ``TrainedRun.predict``."""
        return answers_of(self._answerer, inputs, program, flags, self.client)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"
