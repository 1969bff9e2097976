"""What an archive of conversations does, whatever lies behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class ArchivedConversation:
    """A conversation in an archive, without its state.

    Attributes:
        conversation_id: as given.
        customer_id: whose it is; None where nobody said.
        created_at: when it was saved first, UTC.
        updated_at: when it was saved last, UTC.
    """

    conversation_id: str
    customer_id: str | None
    created_at: datetime
    updated_at: datetime


@runtime_checkable
class StateArchive(Protocol):
    """States of conversations, kept for good. Its methods block, and any thread may call them.

    Every method can raise ``ArchiveError`` (with nothing written), ``InvalidInput`` and, once closed, ``StoreClosed``.
    """

    def save(self, conversation_id: str, state: Mapping[str, Any], customer_id: str | None = None) -> None:
        """Keep a state, in place of the one that there may be.

        Args:
            conversation_id: any text of 1 to 512 UTF-8 bytes.
            state: its fields; what can be stored in a conversation can be stored here.
            customer_id: whose it is, likewise; None leaves what was said before.

        Raises:
            UnsupportedValue, TooLarge: a value cannot be stored; the error names the path to it.
        """

    def load(self, conversation_id: str) -> dict[str, Any] | None:
        """The state that was saved last; None where there is none.

        Raises:
            CorruptState: what lies there was not written by an archive.
        """

    def delete(self, conversation_id: str) -> bool:
        """Forget a conversation. Returns whether it was there."""

    def conversations_of(self, customer_id: str, limit: int = 20) -> list[ArchivedConversation]:
        """A customer's conversations, the one that was saved last first; at most ``limit``."""

    def close(self) -> None:
        """Let go of the database. Closing twice is harmless."""


@dataclass(frozen=True, slots=True)
class ArchiveRow:
    """A conversation as it lies in the archive; its values are still encoded."""

    conversation_id: str
    created_us: int
    customer_id: str | None
    version: int
    updated_us: int
    ended_us: int | None
    reason: str
    schema_version: int | None
    state: str
    cart: str | None
    workflow: str | None
    session: str | None
    record: bytes | None
