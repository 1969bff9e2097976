"""``redstate archive`` and its options."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import click


def _moment(context: click.Context, option: click.Parameter, value: str | None) -> datetime | None:
    """A time in ISO 8601; without an offset it is UTC."""
    if value is None:
        return None
    try:
        when = datetime.fromisoformat(value)
    except ValueError:
        what = f"{value!r} is no time; write 2026-01-31, or 2026-01-31T18:00:00+01:00"
        raise click.BadParameter(what, context, option) from None
    return when if when.tzinfo is not None else when.replace(tzinfo=UTC)


def _archive_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--archive",
        envvar="REDSTATE_ARCHIVE",
        metavar="PATH|URL",
        help="An SQLite file's path, or a PostgreSQL URL; by default REDSTATE_ARCHIVE.",
    )(command)


def _url_option(command: Callable[..., Any]) -> Callable[..., Any]:
    text = "The server; by default REDSTATE_URL, then REDIS_URL."
    return click.option("--url", metavar="URL", help=text)(command)


def _time_options(command: Callable[..., Any]) -> Callable[..., Any]:
    times = "ISO 8601; UTC, if it has no offset."
    for option in (
        click.option("--until", callback=_moment, metavar="TIME", help=f"Only those that ended before then. {times}"),
        click.option("--since", callback=_moment, metavar="TIME", help=f"Only those that ended then or later. {times}"),
        click.option("--customer", "customer_id", metavar="ID", help="Only this customer's."),
    ):
        command = option(command)
    return command


@click.group()
def archive() -> None:
    """Look into the archive: list, export, restore, erase."""


@archive.command("list", short_help="List archived conversations.")
@_time_options
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=100, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON Lines.")
@_archive_option
def list_command(archive: str | None, limit: int, as_json: bool, **matching: Any) -> int:
    """List archived conversations, the one that ended last first.

    A table on a terminal; otherwise lines of fields between tabs, or JSON. Times are UTC.
    """
    from redstate.cli import archive as commands

    return commands.list_conversations(archive, limit, as_json, **matching)


@archive.command(short_help="Write archived conversations as JSON Lines.")
@_time_options
@click.option("--conversation", "conversation_id", metavar="ID", help="Only this one.")
@click.option("-o", "--output", metavar="FILE", help="Write to this file; by default to standard output.")
@_archive_option
def export(archive: str | None, output: str | None, **matching: Any) -> int:
    """Write archived conversations as JSON Lines, one a line, in the order of their ids.

    The file appears when it is complete, readable by you alone; whatever was there before is replaced by it then.
    'redstate archive restore' reads it.
    """
    from redstate.cli import archive_files as commands

    return commands.export(archive, output, **matching)


@archive.command(short_help="Read JSON Lines back into the archive.")
@click.argument("file", metavar="FILE|-")
@click.option("--live", is_flag=True, help="Have them go on in the store, too, as if the callers were back.")
@_archive_option
@_url_option
def restore(file: str, archive: str | None, live: bool, url: str | None) -> int:
    """Read what 'export' has written back into the archive; - is standard input.

    Repeating it changes nothing, and nothing is overwritten by something older.
    """
    if url is not None and not live:
        raise click.UsageError("--url goes with --live")
    from redstate.cli import archive_files as commands

    return commands.restore(archive, file, live=live, url=url)


@archive.command(short_help="Erase a customer or a conversation for good.")
@click.option("--customer", "customer_id", metavar="ID", help="This customer's profile, history and conversations.")
@click.option("--conversation", "conversation_id", metavar="ID", help="This conversation.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
@_archive_option
@_url_option
def erase(customer_id: str | None, conversation_id: str | None, **options: Any) -> int:
    """Erase a customer or a conversation for good, in the store and in the archive."""
    if (customer_id is None) == (conversation_id is None):
        raise click.UsageError("name either --customer or --conversation")
    from redstate.cli import archive as commands

    if customer_id is not None:
        return commands.erase_customer(customer_id, **options)
    assert conversation_id is not None
    return commands.erase_conversation(conversation_id, **options)
