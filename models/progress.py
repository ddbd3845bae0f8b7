"""Progress of a training: a bar on a terminal and in a notebook, lines on stderr elsewhere."""

from __future__ import annotations

import time
from html import escape

import keras
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from common.notebook import LiveOutput, in_notebook
from common.telling import SILENCE_SECONDS, bar_shown, silent_for, told


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
        self.cell = LiveOutput() if console is None and in_notebook() else None
        self.lines: list[str] = []  # of epochs, in a notebook
        self.started = self.begun = time.perf_counter()
        self.first: int | None = None  # epoch that this process began with

    def on_epoch_begin(self, epoch, logs=None):
        """Opens the bar at the first epoch that is really trained."""
        self.started = time.perf_counter()
        epochs, steps = self.params["epochs"], self.params["steps"]
        if self.first is None:
            self.first, self.begun = epoch, self.started
        self.epoch = epoch
        told(f"{self.title} epoch {epoch + 1}/{epochs}")
        if self.cell is not None or not self.console.is_terminal:
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
            bar_shown(True)
            self.task = self.bar.add_task(self.title, total=epochs * steps, info="")
        self.bar.update(
            self.task,
            completed=epoch * steps,
            description=f"{self.title} epoch {epoch + 1}/{epochs}",
        )

    def on_train_batch_end(self, batch, logs=None):
        """Advances the bar; where there is none, a line now and then says that it goes on."""
        if self.bar is None and self.cell is None and silent_for() < SILENCE_SECONDS - 1:
            return
        info = f"loss {logs['loss']:.3f}, {self._speed(batch + 1):.0f} examples/s"
        if self.bar is not None:
            self.bar.update(self.task, advance=1, info=info)
        elif self.cell is not None:
            self._show(epoch_share=(batch + 1) / max(1, self.params["steps"]), info=info)
        else:
            at = f"epoch {self.epoch + 1}/{self.params['epochs']}"
            step = f"step {batch + 1} of {self.params['steps']}"
            self._say(f"{self.title} {at}, {step}: {info}")

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
        if self.cell is None:
            self._say(line)
            return
        self.lines.append(line)
        self._show(epoch_share=1.0, info="", at_once=True)

    def _say(self, line: str) -> None:
        console = self.bar.console if self.bar else self.console
        console.print(line, highlight=False, soft_wrap=True)
        told(line.partition(":")[0])

    def _show(self, epoch_share: float, info: str, at_once: bool = False) -> None:
        """The bar of a notebook, and the epochs so far below it."""
        epochs = self.params["epochs"]
        share = (self.epoch + epoch_share) / epochs
        spent, done = time.perf_counter() - self.begun, self.epoch + epoch_share - self.first
        left = spent / done * (epochs - self.epoch - epoch_share) if done else 0.0
        head = f"{self.title} epoch {self.epoch + 1}/{epochs}"
        head = ", ".join(filter(None, [head, info, f"about {left:.0f} s left"]))
        lines = "\n".join(self.lines[-12:])
        html = (
            f'<div>{escape(head)}<br><progress value="{share:.4f}" max="1" '
            f'style="width:100%;max-width:40em"></progress><pre>{escape(lines)}</pre></div>'
        )
        self.cell.show(html, f"{head}\n{lines}", at_once)

    def on_train_end(self, logs=None):
        """Closes the bar."""
        self.close()

    def close(self) -> None:
        """Gives the terminal back, also after an exception."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
            bar_shown(False)

    def _speed(self, steps: int) -> float:
        share = steps / max(1, self.params["steps"])
        return self.examples * share / max(1e-9, time.perf_counter() - self.started)
