"""Where conversations stay when they leave Redis: a database, behind a small interface.

``SqlArchive`` needs SQLAlchemy (``pip install "redstate[archive]"``); the interface, ``StateArchive``, needs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redstate.archive.interface import ArchivedConversation, StateArchive

if TYPE_CHECKING:
    from redstate.archive.sqlite import SqlArchive

__all__ = ["ArchivedConversation", "SqlArchive", "StateArchive"]


def __getattr__(name: str) -> Any:
    # SQLAlchemy takes as long to import as all the rest: only who opens a database waits for it.
    if name != "SqlArchive":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from redstate.archive.sqlite import SqlArchive

    return SqlArchive
