"""What a person sees while the demo runs, on stderr: a live line on a terminal, else a plain one now and then."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from redstate.demo.drive import Tally

_LINE_EVERY = 3.0  # seconds between plain lines


class Display(Protocol):
    """Is told what goes on."""

    def phase(self, text: str) -> None:
        """Something new begins."""

    def note(self, text: str) -> None:
        """Something happened meanwhile."""

    def conversations(self, count: int, calls: int) -> None:
        """The conversations begin: how many, and how many calls they have in all."""

    def progress(self, tally: Tally) -> None:
        """Something was answered or finished."""


class Silent:
    """Shows nothing."""

    def phase(self, text: str) -> None:
        """Show nothing."""

    def note(self, text: str) -> None:
        """Show nothing."""

    def conversations(self, count: int, calls: int) -> None:
        """Show nothing."""

    def progress(self, tally: Tally) -> None:
        """Show nothing."""


class PlainLines:
    """For logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._total = 0
        self._last = 0.0

    def phase(self, text: str) -> None:
        """Print it."""
        self._console.print(text, highlight=False)

    def note(self, text: str) -> None:
        """Print it."""
        self.phase(text)

    def conversations(self, count: int, calls: int) -> None:
        """Print it, and count time from here."""
        self._total = count
        self._last = time.monotonic()
        self.phase(f"Driving {count:,} conversations with {calls:,} tool calls")

    def progress(self, tally: Tally) -> None:
        """Print a line if the last one is some seconds old."""
        now = time.monotonic()
        if now - self._last >= _LINE_EVERY:
            self._last = now
            self.phase(f"{tally.finished:,} of {self._total:,} conversations, {len(tally.latencies):,} tool calls")


class Live:
    """For a terminal. A context manager, so that the terminal is left as it was."""

    def __init__(self, console: Console) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[counts]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._task: TaskID = self._bar.add_task("Starting", total=None, counts="")
        self._conversations = 0
        self._began = 0.0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def phase(self, text: str) -> None:
        """Show it beside the bar."""
        self._bar.update(self._task, description=text)

    def note(self, text: str) -> None:
        """Print it above the bar."""
        self._bar.console.print(text, highlight=False)

    def conversations(self, count: int, calls: int) -> None:
        """Start the bar."""
        self._conversations, self._began = count, time.monotonic()
        self._bar.update(self._task, description="Conversations", total=calls)

    def progress(self, tally: Tally) -> None:
        """Move the bar."""
        calls = len(tally.latencies)
        rate = calls / max(time.monotonic() - self._began, 0.001)
        counts = f"{tally.finished:,}/{self._conversations:,} done  {calls:,} tool calls  {rate:,.0f}/s"
        self._bar.update(self._task, completed=calls, counts=counts)
