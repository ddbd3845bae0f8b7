"""What every benchmark needs: the machine it ran on, and its results as a table and as JSON."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import platform
import sys
from datetime import date
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
# Some scripts here have the names of packages, which must be found before them, however the
# project is installed.
others = (place for place in sys.path if Path(place).resolve() != HERE)
sys.path[:] = [str(HERE.parent), *others, str(HERE)]


def machine() -> str:
    """Processor, cores and versions, as a result must state them."""
    import keras
    import tensorflow as tf

    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    return (
        f"{os.cpu_count()} cores of {model}, Python {platform.python_version()}, "
        f"TensorFlow {tf.__version__}, Keras {keras.__version__}"
    )


def gpu_name() -> str | None:
    """What TensorFlow, or else PyTorch, calls the first GPU; None where neither sees one."""
    import tensorflow as tf

    if gpus := tf.config.list_physical_devices("GPU"):
        return tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
    if not importlib.util.find_spec("torch"):
        return None
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None


def setting(text: str) -> tuple[str, Any]:
    """``NAME=VALUE`` of a command line; the value as Python writes it, or the text itself."""
    name, _, value = text.partition("=")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def report(name: str, rows: list[dict]) -> None:
    """Prints the rows as a Markdown table and writes ``benchmarks/results/NAME.json``."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    print("| " + " | ".join(columns) + " |")
    print("|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(_cell(row.get(column)) for column in columns) + " |")
    save(name, rows)


def save(name: str, rows: list[dict]) -> None:
    """Writes ``benchmarks/results/NAME.json``: the rows, and what they were measured with."""
    from common.files import write_text

    record = {
        "date": date.today().isoformat(),
        "machine": machine(),
        "command": " ".join(["python", *sys.argv]),
        "rows": rows,
    }
    write_text(RESULTS / f"{name}.json", json.dumps(record, indent=2) + "\n")


def processor_seconds(pid: int) -> float:
    """Of a process so far; nan where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return float("nan")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _cell(value) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
