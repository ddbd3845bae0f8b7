"""What this machine has for trials; asks the system, never TensorFlow."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from common.machine import usable_cores

# What a trial of these tasks takes at most, roughly, beside what it shares with its nursery.
BYTES_EACH = 1_500_000_000


def free_bytes() -> int | None:
    """Memory that a new process could have; None where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    found = [line.split() for line in lines if line.startswith("MemAvailable:")]
    return int(found[0][1]) * 1024 if found else None


def visible_gpus() -> list[str]:
    """Identifiers for ``CUDA_VISIBLE_DEVICES``; asks the driver, which wakes no device."""
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
    """Trials at once: one a GPU, or one a core as far as the memory goes."""
    if gpus:
        return len(gpus)
    free = free_bytes()
    held = max(1, free // BYTES_EACH) if free else usable_cores()
    return min(usable_cores(), held)
