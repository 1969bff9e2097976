"""Opens the store and the archive that a command or a process was told of, and starts neither."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from redstate import AsyncStore, Store
from redstate._discovery import endpoint_from_url
from redstate._settings import Settings
from redstate.archive import SqlArchive
from redstate.archive.urls import checked_url, shown
from redstate.errors import ConfigurationError


def named_server(url: str | None) -> str:
    """The server's URL: as given, else of the environment.

    Raises:
        ConfigurationError: neither names one.
    """
    found = url or os.environ.get("REDSTATE_URL") or os.environ.get("REDIS_URL")
    if not found:
        # A private one, which stores may start for themselves, would have nobody's conversations.
        raise ConfigurationError("no server is named", next_step="Set REDSTATE_URL or pass --url")
    return found


def named_archive(archive: str | None) -> str:
    """The archive's path or URL: as given, else of the environment.

    Raises:
        ConfigurationError: neither names one, or it can be none.
    """
    found = archive or os.environ.get("REDSTATE_ARCHIVE")
    if not found:
        raise ConfigurationError(
            "no archive is named",
            next_step="Set REDSTATE_ARCHIVE or pass --archive: a file's path, or a PostgreSQL URL",
        )
    checked_url(found)
    return found


def shown_archive(archive: str) -> str:
    """An archive's name for people, without credentials."""
    return shown(checked_url(archive))


def existing_archive(archive: str | None, *, timeout: float = 30.0) -> SqlArchive:
    """An archive to read, which is not made if it is not there.

    Args:
        archive: its path or URL, else of the environment.
        timeout: seconds that a statement may take.

    Raises:
        ConfigurationError: none is named, or its file does not exist.
    """
    target = named_archive(archive)
    url = checked_url(target)
    path = url.database or ""
    if url.get_backend_name() == "sqlite" and not path.startswith("file:") and not Path(path).exists():
        raise ConfigurationError(f"there is no archive at {path}", next_step="Check --archive or REDSTATE_ARCHIVE")
    return SqlArchive(target, timeout=timeout)


def async_store(url: str | None, archive: str | None, **options: Any) -> AsyncStore:
    """A store for an event loop; what is None comes from the environment.

    Args:
        url, archive: where.
        options: of the store.

    Raises:
        ConfigurationError: no server or no archive is named, or a setting cannot work.
    """
    endpoint = endpoint_from_url(named_server(url))
    return AsyncStore(endpoint, _settings(archive, options))


def blocking_store(url: str | None, archive: str | None, **options: Any) -> Store:
    """As :func:`async_store`, for threads."""
    endpoint = endpoint_from_url(named_server(url))
    return Store(endpoint, _settings(archive, options))


def _settings(archive: str | None, options: dict[str, Any]) -> Settings:
    given: Any = {name: value for name, value in options.items() if value is not None}
    given["archive"] = named_archive(archive)
    return Settings.from_environment(given)
