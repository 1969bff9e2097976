"""``redstate archive list`` and ``erase``."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from redstate.archive.interface import ArchivedConversation
from redstate.archive.opening import blocking_store, existing_archive, named_server

_HEADINGS = ("conversation", "customer", "began", "ended", "reason")


def list_conversations(archive: str | None, limit: int, as_json: bool, **matching: Any) -> int:
    """List what the archive has; returns the exit status.

    Args:
        archive: its path or URL; else the environment's.
        limit: how many at most.
        as_json: as JSON Lines.
        matching: which, as for ``SqlArchive.list``.

    Raises:
        ConfigurationError: there is no such archive.
        ArchiveError: the database could not do it.
    """
    with existing_archive(archive) as opened:
        found = opened.list(limit=limit + 1, **matching)
    more, found = len(found) > limit, found[:limit]
    console = Console()
    if as_json:
        for one in found:
            click.echo(json.dumps(asdict(one), default=datetime.isoformat))
    elif console.is_terminal:
        _table(console, found)
    else:
        for fields in (_HEADINGS, *map(_fields, found)):
            click.echo("\t".join(fields))
    if more:
        click.echo(f"There are more than these {limit:,}: pass a higher --limit, or --since and --until.", err=True)
    elif not found and console.is_terminal:
        click.echo("The archive has no conversation that matches.", err=True)
    return 0


def erase_customer(customer_id: str, *, archive: str | None, url: str | None, yes: bool, as_json: bool) -> int:
    """Erase a customer; returns the exit status.

    Raises:
        ConfigurationError: no server or no archive is named.
        StoreError: the server or the database could not do it all; it can be called again.
    """
    _check(url, archive)
    if not _agreed(f"Erase the profile and all conversations of customer {printable(customer_id)} for good?", yes):
        return 1
    with blocking_store(url, archive) as store:
        done = store.customer(customer_id).erase()
    if done.unreadable:
        click.echo(
            f"Of {_counted(len(done.unreadable))} in the store it cannot be told whose, so nothing was done: "
            + ", ".join(map(printable, done.unreadable)),
            err=True,
        )
    if as_json:
        click.echo(json.dumps(asdict(done)))
    elif not done.profile and not done.conversations and not done.archived:
        click.echo(f"Nothing was known of customer {printable(customer_id)}.")
    else:
        click.echo(
            f"Erased customer {printable(customer_id)}: {'the' if done.profile else 'no'} profile, "
            f"{_counted(len(done.conversations))} in the store, {_counted(done.archived)} in the archive."
        )
    return 0


def erase_conversation(conversation_id: str, *, archive: str | None, url: str | None, yes: bool, as_json: bool) -> int:
    """Erase a conversation; returns the exit status. Its customer's profile keeps what was merged into it.

    Raises:
        ConfigurationError: no server or no archive is named.
        StoreError: the server or the database could not do it all; it can be called again.
    """
    _check(url, archive)
    if not _agreed(f"Erase conversation {printable(conversation_id)} for good?", yes):
        return 1
    with blocking_store(url, archive) as store:
        # First the store: a sweeper that is on its way with it meets the tombstone, and clears up behind itself.
        here = store.conversation(conversation_id)._ending.erase()
        archived = store.archive.delete(conversation_id)
    if as_json:
        click.echo(json.dumps({"conversation_id": conversation_id, "store": here, "archive": archived}))
    elif not here and not archived:
        click.echo(f"There was no conversation {printable(conversation_id)}.")
    else:
        places = " and ".join(name for name, there in (("the store", here), ("the archive", archived)) if there)
        click.echo(f"Erased conversation {printable(conversation_id)} from {places}.")
    return 0


def printable(text: str) -> str:
    """A text of somebody else's as it can be shown: nothing in it moves a terminal's cursor or ends a line."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _check(url: str | None, archive: str | None) -> None:
    named_server(url)
    existing_archive(archive).close()


def _agreed(question: str, yes: bool) -> bool:
    if yes:
        return True
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError("there is no terminal to ask on; pass --yes to erase without being asked")
    agreed = click.confirm(question, err=True)
    if not agreed:
        click.echo("Nothing was erased.", err=True)
    return agreed


def _table(console: Console, found: list[ArchivedConversation]) -> None:
    if not found:
        return
    table = Table(box=None, pad_edge=False)
    for heading in _HEADINGS:
        table.add_column(heading.capitalize(), overflow="fold")
    for one in found:
        table.add_row(*map(Text, _fields(one)))
    console.print(table)


def _fields(one: ArchivedConversation) -> tuple[str, ...]:
    # One that was saved by hand has not ended; it was saved then.
    ended = one.ended_at or one.updated_at
    return (
        printable(one.conversation_id),
        printable(one.customer_id or ""),
        _time(one.created_at),
        _time(ended),
        one.reason,
    )


def _time(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def _counted(number: int) -> str:
    return "1 conversation" if number == 1 else f"{number:,} conversations"
