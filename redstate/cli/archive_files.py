"""``redstate archive export`` and ``restore``."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

import click
import orjson
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from redstate import Store
from redstate.archive import ArchiveRow, SqlArchive
from redstate.archive.opening import blocking_store, existing_archive, named_archive
from redstate.archive.queries import check_row
from redstate.archive.transfer import plain_of, row_of_plain
from redstate.errors import ConfigurationError, InvalidInput

_BATCH = 500
# A line is one conversation; this is more than the archive takes.
_LONGEST_LINE = 512 * 1024 * 1024
_TIMEOUT = 30.0  # seconds of a statement: others may be writing


def export(archive: str | None, output: str | None, **matching: Any) -> int:
    """Write what matches as JSON Lines; returns the exit status.

    Args:
        archive: its path or URL; else the environment's.
        output: the file; None or ``"-"`` for standard output.
        matching: which, as for ``SqlArchive.rows``.

    Raises:
        ConfigurationError: there is no such archive, or the file cannot be written.
        ArchiveError: the database could not do it.
    """
    to_stdout = output in (None, "-")
    with _ended_by_sigterm(), existing_archive(archive) as opened:
        total = opened.count(**matching)
        try:
            with _output(output) as file, _progress("Exporting", _hides_bar(to_stdout), count=True) as progress:
                bar = progress.add_task("", total=total)
                written = 0
                for row in opened.rows(**matching, batch=_BATCH):
                    file.write(orjson.dumps(plain_of(row), option=orjson.OPT_APPEND_NEWLINE))
                    file.flush()
                    written += 1
                    progress.update(bar, completed=written, total=max(total, written))
        except BrokenPipeError:
            # Who read it wants no more; Python must not try to flush the rest into it.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 128 + signal.SIGPIPE
        except OSError as error:
            raise ConfigurationError(
                f"{output or 'standard output'} cannot be written: {error.strerror}",
                next_step="Name a file on a disk with room, in a folder that can be written to",
            ) from None
    click.echo(f"Exported {counted(written)}{'' if to_stdout else f' to {output}'}.", err=True)
    return 0


def restore(archive: str | None, file: str, *, live: bool, url: str | None) -> int:
    """Read JSON Lines back into the archive; returns the exit status.

    Args:
        archive: its path or URL; else the environment's. A file that does not exist is made.
        file: where they are; ``"-"`` for standard input.
        live: also have the conversations go on in the store.
        url: the server for that; else the environment's.

    Raises:
        ConfigurationError: no archive (or server) is named, or the file cannot be read.
        InvalidInput: a line is none that an export has; of its batch nothing was written.
        StoreError: the database (or the server) could not do it; it can be called again.
    """
    done = _Restored()
    with contextlib.ExitStack() as stack:
        stack.enter_context(_ended_by_sigterm())
        store = stack.enter_context(blocking_store(url, archive)) if live else None
        lines, size = _input(file, stack)
        opened = stack.enter_context(SqlArchive(named_archive(archive), timeout=_TIMEOUT))
        progress = stack.enter_context(_progress("Restoring", hidden=False, count=False))
        bar = progress.add_task("", total=size)
        for batch in _batches(lines):
            rows = _rows(batch, file, done)
            done.put(opened, rows)
            if store is not None:
                done.resume(store, rows)
            progress.advance(bar, sum(len(line) for _, line in batch))
    click.echo(done.words(live), err=True)
    return 1 if done.refused else 0


@dataclass(slots=True)
class _Restored:
    """What was done: rows that were new, that replaced an older version, or that were there; and in the store."""

    new: int = 0
    newer: int = 0
    known: int = 0
    resumed: int = 0
    refused: int = 0

    def put(self, archive: SqlArchive, rows: Sequence[ArchiveRow]) -> None:
        there = archive.versions([row.conversation_id for row in rows])
        archive.put(rows)
        for row in rows:
            life = row.conversation_id, row.created_us
            before = there.get(life)
            self.new += before is None
            self.newer += before is not None and before < row.version
            self.known += before is not None and before >= row.version
            there[life] = max(before or 0, row.version)

    def resume(self, store: Store, rows: Sequence[ArchiveRow]) -> None:
        for conversation_id in dict.fromkeys(row.conversation_id for row in rows):
            if store.conversation(conversation_id).resume():
                self.resumed += 1
            else:
                self.refused += 1

    @property
    def total(self) -> int:
        return self.new + self.newer + self.known

    def words(self, live: bool) -> str:
        words = f"Restored {counted(self.total)}: {self.new:,} new, {self.newer:,} newer than in the archive, "
        words += f"{self.known:,} known already."
        if live:
            words += f" {self.resumed:,} go on in the store."
        if self.refused:
            words += (
                f" {self.refused:,} do not, as they were erased or deleted a moment ago; repeat it in a few minutes."
            )
        return words


def counted(number: int) -> str:
    """So many conversations, in words."""
    return "1 conversation" if number == 1 else f"{number:,} conversations"


# Reading


def _input(file: str, stack: contextlib.ExitStack) -> tuple[BinaryIO, int | None]:
    """The lines, and how many bytes they are, where that is known."""
    if file == "-":
        return sys.stdin.buffer, None
    try:
        opened = stack.enter_context(Path(file).open("rb"))  # noqa: SIM115 - the stack closes it
        status = os.fstat(opened.fileno())
    except OSError as error:
        raise ConfigurationError(
            f"{file} cannot be read: {error.strerror}", next_step="Pass a file that 'redstate archive export' wrote"
        ) from None
    return opened, status.st_size or None


def _batches(lines: BinaryIO) -> Iterator[list[tuple[int, bytes]]]:
    numbered = enumerate(iter(lambda: lines.readline(_LONGEST_LINE), b""), start=1)
    while batch := list(itertools.islice(numbered, _BATCH)):
        yield batch


def _rows(batch: list[tuple[int, bytes]], file: str, done: _Restored) -> list[ArchiveRow]:
    rows = []
    for number, line in batch:
        if not line.strip():
            continue
        try:
            row = row_of_plain(orjson.loads(line))
            check_row(row)
        except orjson.JSONDecodeError:
            reason = "it is no JSON"
        except InvalidInput as error:
            reason = error.message
        else:
            rows.append(row)
            continue
        where = "standard input" if file == "-" else file
        raise InvalidInput(
            f"line {number} of {where} cannot be restored: {reason}",
            next_step=f"Mend or take out the line, and repeat it; {done.total:,} lines before it were restored",
        )
    return rows


# Writing


@contextlib.contextmanager
def _output(output: str | None) -> Iterator[IO[bytes]]:
    """Where to write: a file that takes its name when it is complete, or what is no file, as it is."""
    if output is None or output == "-":
        yield sys.stdout.buffer
        return
    target = Path(output).resolve()
    if target.exists() and not target.is_file():
        with target.open("wb") as device:
            yield device
        return
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
        try:
            yield file.file
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(target)
        except BaseException:
            Path(file.name).unlink()
            raise


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Have SIGTERM end it as Ctrl-C does: with what is half done cleared away."""

    def end(number: int, _: object) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _hides_bar(to_stdout: bool) -> bool:
    return to_stdout and sys.stdout.isatty()


def _progress(what: str, hidden: bool, *, count: bool) -> Progress:
    console = Console(stderr=True)
    done = MofNCompleteColumn() if count else DownloadColumn()
    columns = (TextColumn(what), BarColumn(), done, TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=hidden or not console.is_terminal)
