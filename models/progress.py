"""Progress of a training on stderr: a Rich bar on a terminal, a plain line an epoch elsewhere."""

from __future__ import annotations

import time

import keras
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class TrainingProgress(keras.callbacks.Callback):
    """Epoch, steps, examples a second, time left, and the validation score so far.

    Args:
        examples: examples an epoch.
        monitor: validation metric to show.
        console: where to write; stderr unless told.
        title: what is being trained.
    """

    def __init__(
        self, examples: int, monitor: str, console: Console | None = None, title: str = "train"
    ):
        super().__init__()
        self.examples, self.monitor, self.title = examples, monitor, title
        self.console = console or Console(stderr=True)
        self.bar: Progress | None = None
        self.task = None
        self.started = 0.0
        self.best = None

    def on_epoch_begin(self, epoch, logs=None):
        """Opens the bar at the first epoch that is really trained."""
        self.started = time.perf_counter()
        epochs, steps = self.params["epochs"], self.params["steps"]
        if not self.console.is_terminal:
            return
        if self.bar is None:
            self.bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[info]}"),
                TextColumn("about"),
                TimeRemainingColumn(elapsed_when_finished=True),
                TextColumn("left"),
                console=self.console,
                transient=True,
            )
            self.bar.start()
            self.task = self.bar.add_task(self.title, total=epochs * steps, info="")
        self.bar.update(
            self.task,
            completed=epoch * steps,
            description=f"{self.title} epoch {epoch + 1}/{epochs}",
        )

    def on_train_batch_end(self, batch, logs=None):
        """Advances the bar."""
        if self.bar is None:
            return
        speed = self._speed(batch + 1)
        info = f"loss {logs['loss']:.3f}, {speed:.0f} examples/s"
        self.bar.update(self.task, advance=1, info=info)

    def on_epoch_end(self, epoch, logs=None):
        """Prints the epoch's line."""
        seconds = time.perf_counter() - self.started
        epochs = self.params["epochs"]
        left = (epochs - epoch - 1) * seconds
        line = (
            f"{self.title} epoch {epoch + 1}/{epochs}: loss {logs['loss']:.4f}, "
            f"{self.monitor} {logs[self.monitor]:.4f}, "
            f"{self.examples / seconds:.0f} examples/s, about {left:.0f} s left"
        )
        (self.bar.console if self.bar else self.console).print(
            line, highlight=False, soft_wrap=True
        )

    def on_train_end(self, logs=None):
        """Closes the bar."""
        self.close()

    def close(self) -> None:
        """Gives the terminal back, also after an exception."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def _speed(self, steps: int) -> float:
        share = steps / max(1, self.params["steps"])
        return self.examples * share / max(1e-9, time.perf_counter() - self.started)
