"""Counters and histograms as TensorFlow Serving prints them for Prometheus.

prometheus_client does not fit: it appends ``_total`` to the names of counters, which here have
colons and are the ones that dashboards for TensorFlow Serving ask for.
"""

from __future__ import annotations

import bisect
import threading
from collections.abc import Iterable

# Microseconds: 10 x 1.8^k, 33 bounds.
BOUNDS = tuple(10 * 1.8**k for k in range(33))
PREFIX = ":tensorflow:serving:"
REQUESTS = f"{PREFIX}request_count"
LATENCY = f"{PREFIX}request_latency"
RUNTIME = f"{PREFIX}runtime_latency"
EXAMPLES = f"{PREFIX}request_example_counts"
EXAMPLES_TOTAL = f"{PREFIX}request_example_count_total"
QUEUING = f"{PREFIX}batching_session:queuing_latency"
RUNS = f"{PREFIX}batching_session:wrapped_run_count"
# Ours: TensorFlow Serving has no count of what a run joined.
BATCH_ROWS = ":seqloom:batch_rows"
SESSIONS = ":seqloom:sessions"
TEXTS = ":seqloom:generation_texts"
TOKENS = ":seqloom:generation_tokens"
STEPS = ":seqloom:generation_steps"
TOKEN_RATE = ":seqloom:generation_tokens_per_second"


class Metrics:
    """All samples of a server; a metric appears with its first one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, dict[tuple[str, ...], float]] = {}
        self._histograms: dict[str, dict[tuple[str, ...], _Histogram]] = {}
        self._labels: dict[str, tuple[str, ...]] = {}
        self._gauges: set[str] = set()

    def add(self, name: str, amount: float = 1, **labels: str) -> None:
        """Adds to a counter."""
        with self._lock:
            self._labels[name] = tuple(labels)
            samples = self._values.setdefault(name, {})
            samples[tuple(labels.values())] = samples.get(tuple(labels.values()), 0) + amount

    def set(self, name: str, value: float, **labels: str) -> None:
        """A gauge."""
        with self._lock:
            self._labels[name] = tuple(labels)
            self._gauges.add(name)
            self._values.setdefault(name, {})[tuple(labels.values())] = value

    def observe(self, name: str, values: Iterable[float], **labels: str) -> None:
        """Adds to a histogram; in microseconds, unless the name says otherwise."""
        with self._lock:
            self._labels[name] = tuple(labels)
            samples = self._histograms.setdefault(name, {})
            histogram = samples.setdefault(tuple(labels.values()), _Histogram())
            for value in values:
                histogram.add(value)

    def value(self, name: str) -> int:
        """A counter over all its labels."""
        with self._lock:
            return int(sum(self._values.get(name, {}).values()))

    def text(self) -> bytes:
        """Prometheus's text format, without help lines."""
        lines: list[str] = []
        with self._lock:
            for name, samples in sorted(self._values.items()):
                lines.append(f"# TYPE {name} {'gauge' if name in self._gauges else 'counter'}")
                for values, amount in sorted(samples.items()):
                    lines.append(f"{name}{self._shown(name, values)} {_number(amount)}")
            for name, histograms in sorted(self._histograms.items()):
                lines.append(f"# TYPE {name} histogram")
                for values, histogram in sorted(histograms.items()):
                    lines += histogram.lines(
                        name, lambda more, n=name, v=values: self._shown(n, v, more)
                    )
        return ("\n".join(lines) + "\n").encode()

    def _shown(self, name: str, values: tuple[str, ...], more: str = "") -> str:
        pairs = [
            f'{label}="{_escaped(value)}"'
            for label, value in zip(self._labels[name], values, strict=True)
        ]
        inside = ",".join([*pairs, *([more] if more else [])])
        return f"{{{inside}}}" if inside else ""


class _Histogram:
    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect.bisect_left(BOUNDS, value)] += 1
        self.sum += value

    def lines(self, name: str, shown) -> list[str]:
        found, total = [], 0
        bounds = [f"{bound:g}" for bound in BOUNDS] + ["+Inf"]
        for bound, count in zip(bounds, self.counts, strict=True):
            total += count
            label = f'le="{bound}"'
            found.append(f"{name}_bucket{shown(label)} {total}")
        return [
            *found,
            f"{name}_sum{shown('')} {_number(self.sum)}",
            f"{name}_count{shown('')} {total}",
        ]


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:.10g}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
