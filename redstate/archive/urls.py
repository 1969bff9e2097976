"""Which database an archive is to use: a path or a URL, judged before anything is opened."""

from __future__ import annotations

import contextlib
import importlib
import os

import sqlalchemy as sql
from sqlalchemy.exc import ArgumentError

from redstate.errors import ConfigurationError, MissingExtra

_SQLITE = ("sqlite", "sqlite+pysqlite")
_POSTGRES = ("postgresql", "postgres", "postgresql+psycopg")


def checked_url(url_or_path: str | os.PathLike[str]) -> sql.URL:
    """The database that a path or a URL names.

    Returns:
        A URL for the drivers that redstate uses.

    Raises:
        ConfigurationError: it names no SQLite file and no PostgreSQL database.
        MissingExtra: it names a PostgreSQL database, and psycopg is not installed.
    """
    url = _parsed(url_or_path)
    if url is not None and url.drivername in _POSTGRES:
        # A password with @, / or ? in it that nobody encoded; a part of it is taken for the host or the database.
        if "@" in f"{url.host}{url.database}":
            raise ConfigurationError(
                "The archive's URL has more than one @", next_step='Write an "@" in a user name or a password as "%40"'
            )
        _check_psycopg()
        return url.set(drivername="postgresql+psycopg")
    if url is None or url.drivername not in _SQLITE or url.database in {None, "", ":memory:"}:
        raise ConfigurationError(
            "The archive takes an SQLite file or a PostgreSQL database",
            next_step='Pass a path, or a URL such as "sqlite:///conversations.db" or "postgresql://user@host/database"',
        )
    return url


def shown(url: sql.URL) -> str:
    """A database's name for people: the file's path, or host and database. Never a credential."""
    if url.drivername in _SQLITE:
        return str(url.database)
    host = url.host or "".join(url.query.get("host", "")) or "localhost"
    port = f":{url.port}" if url.port else ""
    return f"{host}{port}/{url.database or ''}"


def _parsed(url_or_path: str | os.PathLike[str]) -> sql.URL | None:
    text = os.fspath(url_or_path) if isinstance(url_or_path, (str, os.PathLike)) else None
    # Nothing of the parser's own errors is kept: they quote what they cannot read, which may be a password.
    with contextlib.suppress(ArgumentError, ValueError):
        if isinstance(text, str):
            return sql.make_url(text) if "://" in text else sql.URL.create("sqlite", database=text)
    return None


def _check_psycopg() -> None:
    try:
        # Not only found: it also needs libpq.
        importlib.import_module("psycopg")
    except ImportError:
        missing = True
    else:
        missing = False
    if missing:
        raise MissingExtra(
            "An archive in PostgreSQL needs psycopg, which is not installed",
            next_step='Install it with: pip install "redstate[postgres]"',
            extra="postgres",
        )
