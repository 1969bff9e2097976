"""What a call is, before anyone has decided how to send it: pure data, free of I/O and of colour."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from redstate._scripts import Script

T = TypeVar("T")

# No ints: turning one into text looks for signals, and the C code that frames a command does not survive a handler that
# raises there.
Word = str | bytes


class Mutation(Generic[T]):
    """A change of one record by one script, journalled under an operation id.

    Attributes:
        script: what to run.
        key: the record.
        args: the script's own arguments, after the shared ones (writer, op, expiry, guards).
        parse: makes the caller's result of the reply.
        field: the hash field that the change is about, for errors; "" where it concerns several.
        limit: the cap that a limit error of the script refers to.
    """

    __slots__ = ("args", "field", "key", "limit", "parse", "script")

    def __init__(
        self,
        script: Script,
        key: str,
        args: tuple[Word, ...],
        parse: Callable[[bytes], T],
        field: str = "",
        limit: int = 0,
    ) -> None:
        self.script = script
        self.key = key
        self.args = args
        self.parse = parse
        self.field = field
        self.limit = limit


class Query(Generic[T]):
    """A call that may be repeated freely: a read, or a touch. ``words`` is the whole command."""

    __slots__ = ("field", "key", "parse", "script", "words")

    def __init__(
        self,
        key: str,
        words: tuple[Word, ...],
        parse: Callable[[Any], T],
        field: str = "",
        script: Script | None = None,
    ) -> None:
        self.key = key
        self.words = words
        self.parse = parse
        self.field = field
        self.script = script


_NO_LIMIT = "9" * 16


def guards(
    fence: int | None = None,
    deadline_us: int | None = None,
    expected_version: int | None = None,
    *,
    logged_in: bool = False,
    schema: str = "",
) -> str:
    """The conditions of a change, in one word of the script's arguments; "" where there are none.

    Args:
        fence: the owner's token, sixteen digits (the version at which the conversation was claimed).
        deadline_us: when the change must not happen any more, in microseconds of the server's clock.
        expected_version: the only version at which it may happen; 0 where there must be no record.
        logged_in: whether it may only happen while a session is live.
        schema: eight digits, the version of the schema that writes and the oldest that it can read; "" without one.
    """
    if fence is None and deadline_us is None and expected_version is None and not logged_in and not schema:
        return ""
    token = _NO_LIMIT if fence is None else f"{fence:016d}"
    deadline = _NO_LIMIT if deadline_us is None else f"{deadline_us:016d}"
    letter = ("b" if logged_in else "s") if schema else ("l" if logged_in else "-")
    return f"{deadline}{token}{letter}{schema}{'' if expected_version is None else expected_version}"


# A reply is the operation's entry in the journal, "<number><verb> <version> <result>", with columns of fixed width.
_VERSION = slice(13, 29)
_RESULT = slice(30, None)


def version_of(answer: bytes) -> int:
    """The version in a reply."""
    return int(answer[_VERSION])


def result_of(answer: bytes) -> int:
    """The whole number after the version."""
    return int(answer[_RESULT])
