"""Where conversations stay when they leave Redis: a database, behind a small interface.

``SqlArchive`` needs SQLAlchemy (``pip install "redstate[archive]"``), and psycopg for PostgreSQL
(``pip install "redstate[postgres]"``); the interface, ``StateArchive``, needs nothing.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from redstate.archive.interface import ArchivedConversation, ArchiveRow, StateArchive
from redstate.errors import MissingExtra

if TYPE_CHECKING:
    from redstate.archive.figures import SweepFigures
    from redstate.archive.sql import SqlArchive
    from redstate.archive.sweeper import Sweeper

__all__ = ["ArchiveRow", "ArchivedConversation", "SqlArchive", "StateArchive", "SweepFigures", "Sweeper"]


def __getattr__(name: str) -> Any:
    # SQLAlchemy takes as long to import as all the rest: only who opens a database waits for it.
    if name == "SqlArchive":
        return _sql_archive()
    # These need the store, which needs this package.
    if name in ("Sweeper", "SweepFigures"):
        from redstate.archive import sweeper

        return getattr(sweeper, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _sql_archive() -> type[SqlArchive]:
    if find_spec("sqlalchemy") is None:
        raise MissingExtra(
            "The SQL archive needs SQLAlchemy, which is not installed",
            next_step='Install it with: pip install "redstate[archive]"',
            extra="archive",
        )
    from redstate.archive.sql import SqlArchive

    return SqlArchive
