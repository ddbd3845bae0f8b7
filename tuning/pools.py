"""Where attempts run: in threads of this process, or on the workers of a Dask cluster.

Both pools submit ``run_attempt`` to a ``concurrent.futures.Executor``. Each call waits for the
process of one trial on the machine where the call runs.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from common.machine import usable_cores
from tuning.attempts import close_fork_servers, run_attempt, start_fork_server
from tuning.errors import SearchError
from tuning.machine import default_workers, visible_gpus


class Pool(Protocol):
    """Runs attempts."""

    def capacity(self) -> int:
        """Number of trials that can run at the same time at this moment."""

    def submit(self, spec: dict[str, Any], job: dict[str, Any]) -> Future:
        """Starts an attempt; the future's result is what ``run_attempt`` returns."""

    def lost(self) -> bool:
        """Whether the executor has died, and all its attempts with it; reported only once."""

    def close(self, owner_file: str) -> None:
        """Ends all attempts of the search with this owner file."""


class LocalPool:
    """Processes on this machine.

    Args:
        workers: number of trials at once; None for as many as the machine has room for.
        threads: number of TensorFlow threads per trial; None for the cores divided by the workers.
    """

    def __init__(self, workers: int | None = None, threads: int | None = None) -> None:
        self.gpus = visible_gpus()
        self.workers = workers or default_workers(self.gpus)
        self.threads = threads or max(1, usable_cores() // self.workers)
        self._free = (self.gpus * self.workers)[: self.workers]
        self._futures: set[Future] = set()
        self._executor = ThreadPoolExecutor(self.workers, thread_name_prefix="trial")

    def start(self, target: str) -> None:
        """Starts the fork server for trainer specs with this target, before a spec is known."""
        start_fork_server(target, self.threads)

    def capacity(self) -> int:
        """The number of workers."""
        return self.workers

    def submit(self, spec: dict[str, Any], job: dict[str, Any]) -> Future:
        """Starts an attempt in a thread; if there are GPUs, the trial has one to itself."""
        gpu = self._free.pop(0) if self._free else None
        if gpu is not None:
            job = {**job, "environment": {**job["environment"], "CUDA_VISIBLE_DEVICES": gpu}}
        future = self._executor.submit(run_attempt, spec, job, self.threads)
        self._futures.add(future)
        future.add_done_callback(lambda ended: self._forget(ended, gpu))
        return future

    def _forget(self, future: Future, gpu: str | None) -> None:
        self._futures.discard(future)
        if gpu is not None:
            self._free.append(gpu)

    def lost(self) -> bool:
        """Always False: threads die only with this process."""
        return False

    def close(self, owner_file: str) -> None:
        """Kills the attempts that are still running."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        close_fork_servers(owner_file)
        while self._futures:  # an attempt that was just starting may have started a fork server
            time.sleep(0.05)
            close_fork_servers(owner_file)


class ClusterPool:
    """Workers of a Dask cluster.

    Args:
        address: address of the scheduler (``tcp://host:8786``, ``tls://...``), or path of a
            scheduler file.
        workers: maximum number of trials at once; None for as many as the cluster's workers have
            threads or, if they declare that resource, GPUs.
        threads: number of TensorFlow threads per trial; None for 1.
        tell: shows the user a message, such as what the search waits for.
        patience: seconds to wait for a scheduler that does not answer.

    Raises:
        SearchError: Dask is not installed, or no scheduler has answered for ``patience`` seconds.
    """

    def __init__(
        self,
        address: str,
        workers: int | None = None,
        threads: int | None = None,
        tell: Callable[[str], None] = lambda _: None,
        patience: float = 600.0,
    ) -> None:
        try:
            import distributed  # noqa: F401
        except ImportError as error:
            raise SearchError('--cluster needs Dask: pip install "seqloom[cluster]"') from error
        # This class reports a lost connection itself, once.
        for name in ("distributed", "distributed.client", "tornado", "tornado.application"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self.address, self.workers, self.threads = address, workers, threads or 1
        self.tell, self.patience = tell, patience
        self._client: Any = None
        self._scheduler = ""
        self._last_message, self._away_since = "", time.monotonic()

    def capacity(self) -> int:
        """Number of trials that the connected workers can run; 0 while no scheduler answers."""
        if self._client is None and not self._connect():
            return 0
        room = sum(_worker_capacity(worker) for worker in self._workers())
        if not room:
            self._say(f"waiting for workers at {self.address}")
        return min(room, self.workers) if self.workers else room

    def submit(self, spec: dict[str, Any], job: dict[str, Any]) -> Future:
        """Sends an attempt to the scheduler, which moves it if its worker dies."""
        gpus = any(worker["resources"].get("GPU") for worker in self._workers())
        resources = {"resources": {"GPU": 1}} if gpus else {}
        try:
            executor = self._client.get_executor(pure=False, **resources)
            return executor.submit(run_attempt, spec, job, self.threads)
        except Exception as error:  # noqa: BLE001 the connection has just broken; `lost` reports it
            failed: Future = Future()
            failed.set_exception(error)
            return failed

    def lost(self) -> bool:
        """Whether the scheduler has died or was replaced by another one."""
        if self._client is None:
            return False
        # Identity first: that request may be what makes the client notice that the scheduler died.
        known = self._identity() == self._scheduler and self._client.status == "running"
        if known:
            return False
        self._say(f"the scheduler at {self.address} is gone; waiting for it")
        self._away_since = time.monotonic()
        self._drop()
        return True

    def close(self, owner_file: str) -> None:
        """Ends the attempts and closes the connection; the cluster keeps running."""
        if self._client is not None and self._client.status == "running":
            with contextlib.suppress(Exception):  # a worker may leave meanwhile
                self._client.run(close_fork_servers, owner_file, on_error="ignore")
        self._drop()

    def _connect(self) -> bool:
        from distributed import Client

        where = {"address": self.address}
        if "://" not in self.address and Path(self.address).suffix == ".json":
            where = {"scheduler_file": self.address}
        try:
            if "scheduler_file" in where and not Path(self.address).is_file():
                raise OSError("the scheduler file is not there yet")
            self._client = Client(**where, timeout=5, set_as_default=False, loop=_loop())
        except (OSError, TimeoutError) as error:
            self._say(f"waiting for a Dask scheduler at {self.address}")
            if time.monotonic() - self._away_since > self.patience:
                raise SearchError(
                    f"--cluster {self.address}: no scheduler answers ({error}); "
                    "start `dask scheduler` there, or give its address"
                ) from error
            return False
        except ValueError as error:  # such as a certificate that is missing
            raise SearchError(f"--cluster {self.address}: {error}") from error
        self._scheduler = self._identity()
        self._say(f"connected to the scheduler at {self.address}")
        return True

    def _workers(self) -> list[dict[str, Any]]:
        return list(self._scheduler_info(-1).get("workers", {}).values())

    def _identity(self) -> str:
        return self._scheduler_info(0).get("id", "")

    def _scheduler_info(self, workers: int) -> dict[str, Any]:
        try:
            return dict(self._client.scheduler_info(n_workers=workers))
        except Exception:  # noqa: BLE001 the scheduler may die at any moment, which shows in many ways
            return {}

    def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Exception):  # the scheduler may be gone
                client.close(timeout=2)

    def _say(self, message: str) -> None:
        if message != self._last_message:
            self._last_message = message
            self.tell(message)


@cache
def _loop() -> Any:
    """One event loop for all clients.

    A client with its own loop that cannot connect leaves the loop and a thread behind, and a search
    that waits for its scheduler tries again and again.
    """
    from distributed.utils import LoopRunner

    runner = LoopRunner()
    runner.start()
    return runner.loop


def _worker_capacity(worker: dict[str, Any]) -> int:
    gpus = worker["resources"].get("GPU")
    return int(gpus) if gpus else worker["nthreads"]
