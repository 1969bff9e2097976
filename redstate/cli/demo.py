"""``redstate demo``: which server, which display, how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click
from rich.console import Console

from redstate import AsyncStore
from redstate.demo.display import Display, Live, PlainLines
from redstate.demo.errors import DemoFailed
from redstate.demo.facts import KEY_PREFIX, Facts
from redstate.demo.report import as_json as to_json
from redstate.demo.report import show
from redstate.demo.run import DemoOptions, check_server, run_demo
from redstate.demo.verify import Books
from redstate.demo.verify import verify as check_books
from redstate.embedded import EmbeddedServer

T = TypeVar("T")


class _Stopped(BaseException):
    """A signal ended the work, and everything was cleaned up. Carries its number."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(number)


def run(url: str | None, options: DemoOptions, *, as_json: bool, keep: bool) -> int:
    """Run the demo and print its result; returns the exit status."""
    try:
        if url is not None:
            return _run_on(url, options, as_json=as_json, keep=keep)
        with EmbeddedServer.start() as server:
            status = _run_on(server.url, options, as_json=as_json, keep=keep)
            if keep:
                _serve_until_signal()
            return status
    except DemoFailed as error:
        click.echo(f"error: {error}", err=True)
        return 1
    except _Stopped as stopped:
        return _interrupted(stopped)


def verify_run(url: str, as_json: bool) -> int:
    """Check the latest run on a server again and print its result; returns the exit status."""

    async def check() -> tuple[Facts, Books]:
        async with AsyncStore.from_url(url, key_prefix=KEY_PREFIX) as store:
            await check_server(store)
            return await check_books(store)

    try:
        return _report(*_until_signal(check()), as_json)
    except _Stopped as stopped:
        return _interrupted(stopped)


def _interrupted(stopped: _Stopped) -> int:
    click.echo("interrupted", err=True)
    return 128 + stopped.number


def _serve_until_signal() -> None:
    click.echo("The server goes on until you press Ctrl-C.", err=True)
    with contextlib.suppress(_Stopped):
        _until_signal(asyncio.Event().wait())


def _run_on(url: str, options: DemoOptions, *, as_json: bool, keep: bool) -> int:
    with _display() as display:
        facts, books = _until_signal(run_demo(url, options, display, keep=keep))
    status = _report(facts, books, as_json)
    if keep:
        click.echo(f"\nCheck it again with: redstate demo --verify {_shown(url)}", err=True)
    return status


def _report(facts: Facts, books: Books, as_json: bool) -> int:
    if as_json:
        click.echo(json.dumps(to_json(facts, books), indent=2))
    else:
        show(Console(), facts, books)
    return 1 if books.violations else 0


@contextmanager
def _display() -> Iterator[Display]:
    console = Console(stderr=True)
    if console.is_terminal:
        with Live(console) as live:
            yield live
    else:
        yield PlainLines(console)


def _until_signal(work: Coroutine[Any, Any, T]) -> T:
    """Do ``work``. The first Ctrl-C or SIGTERM cancels it; further ones do not disturb the cleaning up.

    Raises:
        _Stopped: a signal came.
    """

    async def guarded() -> T:
        task = asyncio.ensure_future(work)
        received: list[int] = []

        def stop(number: int) -> None:
            if not received:
                received.append(number)
                task.cancel()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop, number)
        try:
            return await task
        except asyncio.CancelledError:
            if received:
                raise _Stopped(received[0]) from None
            raise

    return asyncio.run(guarded())


def _shown(url: str) -> str:
    parts = urlsplit(url)
    return "URL, with the URL of your server" if parts.username or parts.password or parts.query else url
