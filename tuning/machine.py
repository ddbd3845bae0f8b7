"""Memory and GPUs of this machine, for running trials; asks the system, never TensorFlow."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from common.machine import usable_cores

# Rough maximum memory of one trial of these tasks, without what it shares with its fork server.
BYTES_PER_TRIAL = 1_500_000_000


def free_bytes() -> int | None:
    """Memory that is available to a new process; None if the system does not report it."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    found = [line.split() for line in lines if line.startswith("MemAvailable:")]
    return int(found[0][1]) * 1024 if found else None


def visible_gpus() -> list[str]:
    """Identifiers for ``CUDA_VISIBLE_DEVICES``, from the driver, without initialising a device."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [gpu for gpu in chosen.split(",") if gpu.strip() not in ("", "-1")]
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return []
    lines = [line for line in done.stdout.splitlines() if line.startswith("GPU ")]
    return [str(number) for number in range(len(lines))] if done.returncode == 0 else []


def default_workers(gpus: list[str]) -> int:
    """Number of trials at once: one per GPU; without GPUs one per core, as far as memory allows."""
    if gpus:
        return len(gpus)
    free = free_bytes()
    fitting = max(1, free // BYTES_PER_TRIAL) if free else usable_cores()
    return min(usable_cores(), fitting)
