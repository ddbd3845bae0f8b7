"""Where attempts run: threads of this process, or the workers of a Dask cluster.

Both hand ``run_attempt`` to a ``concurrent.futures.Executor``; each call waits for one trial's
process on the machine where it runs.
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
from tuning.attempts import close_nurseries, run_attempt, warm
from tuning.errors import SearchError
from tuning.machine import default_workers, visible_gpus


class Pool(Protocol):
    """Runs attempts."""

    def capacity(self) -> int:
        """Trials that can run at once, now."""

    def submit(self, recipe: dict[str, Any], job: dict[str, Any]) -> Future:
        """Begins an attempt; the future gives what ``run_attempt`` returns."""

    def lost(self) -> bool:
        """True once after whatever ran the attempts has gone, and they with it."""

    def close(self, lease: str) -> None:
        """Ends all attempts of the search with this lease."""


class LocalPool:
    """Processes of this machine.

    Args:
        workers: trials at once; None for what the machine holds.
        threads: of TensorFlow in each; None for the cores divided by the workers.
    """

    def __init__(self, workers: int | None = None, threads: int | None = None) -> None:
        self.gpus = visible_gpus()
        self.workers = workers or default_workers(self.gpus)
        self.threads = threads or max(1, usable_cores() // self.workers)
        self._free = (self.gpus * self.workers)[: self.workers]
        self._futures: set[Future] = set()
        self._executor = ThreadPoolExecutor(self.workers, thread_name_prefix="trial")

    def warm(self, target: str) -> None:
        """Starts what trials are forked from, before their recipe, of this target, is known."""
        warm(target, self.threads)

    def capacity(self) -> int:
        """As many as there are workers."""
        return self.workers

    def submit(self, recipe: dict[str, Any], job: dict[str, Any]) -> Future:
        """In a thread, on a GPU of its own where there is one."""
        gpu = self._free.pop(0) if self._free else None
        if gpu is not None:
            job = {**job, "environment": {**job["environment"], "CUDA_VISIBLE_DEVICES": gpu}}
        future = self._executor.submit(run_attempt, recipe, job, self.threads)
        self._futures.add(future)
        future.add_done_callback(lambda ended: self._forget(ended, gpu))
        return future

    def _forget(self, future: Future, gpu: str | None) -> None:
        self._futures.discard(future)
        if gpu is not None:
            self._free.append(gpu)

    def lost(self) -> bool:
        """Never: threads die with their process."""
        return False

    def close(self, lease: str) -> None:
        """Kills what still runs."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        close_nurseries(lease)
        while self._futures:  # one may have been about to begin, with a nursery of its own
            time.sleep(0.05)
            close_nurseries(lease)


class ClusterPool:
    """Workers of a Dask cluster.

    Args:
        address: of the scheduler (``tcp://host:8786``, ``tls://...``), or the path of a scheduler
            file.
        workers: trials at once at most; None for as many as the cluster's workers have threads or,
            where they declare that resource, GPUs.
        threads: of TensorFlow in each trial.
        tell: shows a person what is waited for.
        patience: seconds to wait for a scheduler that is away.

    Raises:
        SearchError: Dask is not installed, or no scheduler answers for ``patience``.
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
        # Of a lost connection we tell the person ourselves, once.
        for name in ("distributed", "distributed.client", "tornado", "tornado.application"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self.address, self.workers, self.threads = address, workers, threads or 1
        self.tell, self.patience = tell, patience
        self._client: Any = None
        self._scheduler = ""
        self._told, self._away_since = "", time.monotonic()

    def capacity(self) -> int:
        """Slots of the workers that are there now; 0 while no scheduler answers."""
        if self._client is None and not self._connect():
            return 0
        slots = sum(_slots(worker) for worker in self._workers())
        if not slots:
            self._say(f"waiting for workers at {self.address}")
        return min(slots, self.workers) if self.workers else slots

    def submit(self, recipe: dict[str, Any], job: dict[str, Any]) -> Future:
        """To the scheduler, which gives it to another worker when one dies."""
        gpus = any(worker["resources"].get("GPU") for worker in self._workers())
        resources = {"resources": {"GPU": 1}} if gpus else {}
        try:
            executor = self._client.get_executor(pure=False, **resources)
            return executor.submit(run_attempt, recipe, job, self.threads)
        except Exception as error:  # noqa: BLE001 the connection broke just now; `lost` will tell
            failed: Future = Future()
            failed.set_exception(error)
            return failed

    def lost(self) -> bool:
        """Whether the scheduler has died, or another one has its place."""
        if self._client is None:
            return False
        # Asked first: a client that learns of the death by it gives the old answer.
        known = self._identity() == self._scheduler and self._client.status == "running"
        if known:
            return False
        self._say(f"the scheduler at {self.address} is gone; waiting for it")
        self._away_since = time.monotonic()
        self._drop()
        return True

    def close(self, lease: str) -> None:
        """Ends the attempts and gives the connection back; the cluster is whoever's it was."""
        if self._client is not None and self._client.status == "running":
            with contextlib.suppress(Exception):  # a worker may leave meanwhile
                self._client.run(close_nurseries, lease, on_error="ignore")
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
        return list(self._told_by_scheduler(-1).get("workers", {}).values())

    def _identity(self) -> str:
        return self._told_by_scheduler(0).get("id", "")

    def _told_by_scheduler(self, workers: int) -> dict[str, Any]:
        try:
            return dict(self._client.scheduler_info(n_workers=workers))
        except Exception:  # noqa: BLE001 it may die at any moment, in many ways
            return {}

    def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Exception):  # what it was connected to may be gone
                client.close(timeout=2)

    def _say(self, message: str) -> None:
        if message != self._told:
            self._told = message
            self.tell(message)


@cache
def _loop() -> Any:
    """One event loop for all clients: one that cannot connect leaves its own behind, and a thread.

    A search that waits for its scheduler tries again and again.
    """
    from distributed.utils import LoopRunner

    runner = LoopRunner()
    runner.start()
    return runner.loop


def _slots(worker: dict[str, Any]) -> int:
    gpus = worker["resources"].get("GPU")
    return int(gpus) if gpus else worker["nthreads"]
