"""What is known of one customer, handed out or erased."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from redstate.archive.conversation import EndedConversation
from redstate.archive.interface import ArchiveRow
from redstate.calls.customer import CustomerConversation, CustomerEvent

if TYPE_CHECKING:
    from redstate.archive.sql import SqlArchive


@dataclass(frozen=True, slots=True)
class CustomerExport:
    """All that is stored of a customer. Its ``repr`` shows no values.

    Attributes:
        customer_id: whose.
        profile: the fields, with the types that they have.
        history: the events, newest first.
        links: the customer's list of conversations, newest first.
        conversations: those that are going on or have ended in the store, and those in the archive, oldest first. One
            that is going on has no ``ended_at`` and the reason "".
        unreadable: ids of conversations that cannot be read here, or of which it cannot be told whose they are.
    """

    customer_id: str
    profile: dict[str, Any] = field(repr=False, hash=False)
    history: list[CustomerEvent] = field(repr=False, hash=False)
    links: list[CustomerConversation] = field(repr=False, hash=False)
    conversations: list[EndedConversation] = field(repr=False, hash=False)
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CustomerErasure:
    """What an erasure has done.

    Attributes:
        customer_id: whose.
        profile: whether there was a profile.
        conversations: the ids of those that were in the store, going on or ended.
        archived: how many were in the archive.
        unreadable: ids of conversations in the store that are still there, as it cannot be told whose they are.
    """

    customer_id: str
    profile: bool
    conversations: tuple[str, ...]
    archived: int
    unreadable: tuple[str, ...] = ()


def customer_tag(customer_id: str) -> str:
    """The tag of cached values that are dropped when the customer is erased."""
    return f"customer:{customer_id}"


def lives_of(archive: SqlArchive, customer_id: str, linked: Iterable[str]) -> list[ArchiveRow]:
    """What is archived of a customer: what says so, and of the conversations on its list what is nobody's."""
    return [*archive.rows(customer_id=customer_id), *_nobodys(archive, linked)]


def ids_of(archive: SqlArchive, customer_id: str, linked: Iterable[str]) -> tuple[list[str], int]:
    """The ids of what ``lives_of`` finds, and how many lives that is."""
    found, count = dict.fromkeys(archive.ids_of(customer_id)), archive.count(customer_id=customer_id)
    for row in _nobodys(archive, linked):
        found[row.conversation_id] = None
        count += 1
    return list(found), count


def forget_all(archive: SqlArchive, customer_id: str, linked: Iterable[str]) -> None:
    """Take out of the archive what ``lives_of`` finds."""
    for row in _nobodys(archive, linked):
        archive.delete_row(row.conversation_id, row.created_us, row.version)
    archive.delete_of(customer_id)


def _nobodys(archive: SqlArchive, linked: Iterable[str]) -> Iterator[ArchiveRow]:
    return (row for one in linked for row in archive.lives(one) if row.customer_id is None)
