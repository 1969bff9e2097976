"""``redstate sweep``: until a signal, or once with a progress bar and a summary."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from redstate import Backlog, _logs
from redstate._child import loop_factory
from redstate._named import search_current_folder
from redstate._redaction import Redaction
from redstate.archive.figures import SweepFigures
from redstate.archive.process import SweepSettings, stop_by_signal, sweep_until_stopped
from redstate.archive.sweeper import Sweeper
from redstate.errors import RedstateError

_DRAW_EVERY = 0.1


@dataclass(frozen=True, slots=True)
class Swept:
    """What one sweep came to: its figures, the seconds that it took, what is left, and the signal that ended it."""

    figures: SweepFigures
    seconds: float
    left: Backlog
    signal: int | None

    @property
    def status(self) -> int:
        """Of the command: 1 where a record could not be read."""
        if self.signal is not None:
            return 128 + self.signal
        return 1 if self.figures.corrupt else 0


def run(settings: SweepSettings, *, once: bool, as_json: bool, log_format: str | None) -> int:
    """Sweep, and return the exit status.

    Args:
        settings: what to sweep, and how.
        once: only what is due now.
        as_json: print what came of that as JSON.
        log_format: ``"json"`` or ``"text"``; by default text on a terminal.

    Raises:
        ConfigurationError: no server or no archive is named, or a setting cannot work.
        StoreError: the server or the database could not do it; only with ``once``.
    """
    search_current_folder()
    settings = replace(settings, log_format=log_format or ("text" if sys.stderr.isatty() else "json"))
    _logs.setup(settings.log_format, settings.log_level, Redaction())
    if not once:
        settings.check()
        settings.stand_back()
        return sweep_until_stopped(settings)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        swept = runner.run(_once(settings))
    click.echo(json.dumps(_plain(swept)) if as_json else _words(swept))
    return swept.status


async def _once(settings: SweepSettings) -> Swept:
    console = Console(stderr=True)
    async with settings.open() as store:
        settings.stand_back()
        sweeper = settings.sweeper(store)
        received = stop_by_signal(sweeper.stop, lambda: console.show_cursor(True))
        try:
            before = await store.archive.backlog()
            began = time.monotonic()
            with _progress(console) as progress:
                await _drawn(sweeper, progress, before.due)
            seconds = time.monotonic() - began
            left = await store.archive.backlog()
        except RedstateError:
            if sweeper.figures.archived:
                click.echo(f"{_conversations(sweeper.figures.archived)} archived before it failed.", err=True)
            raise
        finally:
            await sweeper.close()
        return Swept(sweeper.figures, seconds, left, received[0] if received else None)


def _progress(console: Console) -> Progress:
    columns = (TextColumn("Archiving"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


class _Rate(TextColumn):
    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:,.0f}/s")


async def _drawn(sweeper: Sweeper, progress: Progress, due: int) -> None:
    bar = progress.add_task("", total=due)
    sweeping = asyncio.ensure_future(sweeper.sweep())
    while not sweeping.done():
        await asyncio.wait((sweeping,), timeout=_DRAW_EVERY)
        done = sweeper.figures.looked_at
        # More may have become due meanwhile.
        progress.update(bar, completed=done, total=max(due, done))
    await sweeping


def _plain(swept: Swept) -> dict[str, Any]:
    return {
        **asdict(swept.figures),
        "seconds": round(swept.seconds, 3),
        "interrupted": swept.signal is not None,
        "due": swept.left.due,
        "oldest": swept.left.oldest,
        "conversations": swept.left.conversations,
    }


def _words(swept: Swept) -> str:
    figures, left = swept.figures, swept.left
    words = "Interrupted: archived" if swept.signal is not None else "Archived"
    words += f" {_conversations(figures.archived)} in {swept.seconds:.1f} s"
    if figures.abandoned:
        words += f", {figures.abandoned:,} of them abandoned"
    words += f". {left.due:,} are still due, {left.conversations - left.due:,} go on."
    if figures.erased:
        words += f" {figures.erased:,} that were erased meanwhile left the archive."
    if figures.corrupt:
        words += f" {figures.corrupt:,} cannot be read and stay in the store; see the log."
    return words


def _conversations(number: int) -> str:
    return "1 conversation" if number == 1 else f"{number:,} conversations"
