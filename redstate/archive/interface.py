"""What an archive of conversations does, whatever lies behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class ArchivedConversation:
    """A conversation in an archive, without its state: one life of it, if it was begun again under its id.

    Attributes:
        conversation_id: as given.
        customer_id: whose it is; None where nobody said.
        created_at: when it began, or was saved first, UTC.
        updated_at: when it was changed or saved last, UTC.
        version: of its record; 0 where it was saved before archives had versions.
        ended_at: when it ended, UTC; None while it has not, or for a state that was saved.
        reason: why it is here: "ended", "abandoned", "saved" or another word.
    """

    conversation_id: str
    customer_id: str | None
    created_at: datetime
    updated_at: datetime
    version: int
    ended_at: datetime | None
    reason: str


@dataclass(frozen=True, slots=True)
class ArchiveRow:
    """A conversation as it lies in the archive; its values are still encoded.

    Attributes:
        conversation_id: any text of 1 to 512 UTF-8 bytes.
        created_us: when it began, in microseconds since 1970 UTC: with the id, what tells its lives apart.
        customer_id: whose it is, likewise any text; None where nobody said.
        version: the version of the record that this is: microseconds, sixteen digits.
        updated_us: when it was changed last, in microseconds.
        ended_us: when it ended, in microseconds; None where it has not.
        reason: why it is here: "ended", "abandoned", "saved" or another word.
        schema_version: which schema version the state fits; None where it was written without a schema.
        state: JSON text.
        cart, workflow, session: JSON text for readers of the table; None where there is none.
        record: what else is needed to bring the record back, opaque here.
    """

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
        """Forget a conversation, all its lives. Returns whether it was there."""

    def conversations_of(self, customer_id: str, limit: int = 20) -> list[ArchivedConversation]:
        """A customer's conversations, the one that ended or was saved last first; at most ``limit``."""

    def close(self) -> None:
        """Let go of the database. Closing twice is harmless."""
