"""What a call is, before anyone has decided how to send it: pure data, free of I/O and of colour."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from redstate._scripts import Script

if TYPE_CHECKING:
    from redstate.calls.image import Image

T = TypeVar("T")

# No ints: turning one into text looks for signals, and the C code that frames a command does not survive a handler that
# raises there.
Word = str | bytes

Changed = dict[bytes, bytes | None]
"""What a change did to the fields of a record: their new bytes, None where a field went."""

Effect = Callable[[tuple[Word, ...], Mapping[bytes, bytes], bytes], Changed | None]
"""What a change does to a record: of its arguments, of the fields before it and of its answer; None where those do not
tell. It says what the script did, byte for byte."""


class Mutation(Generic[T]):
    """A change of one record by one script, journalled under an operation id.

    Attributes:
        script: what to run.
        key: the record.
        args: the script's own arguments, after the shared ones (writer, op, expiry, guards).
        parse: makes the caller's result of the reply.
        field: the hash field that the change is about, for errors; "" where it concerns several.
        limit: the cap that a limit error of the script refers to.
        effect: makes the change on an image of the record, too; None where only the server can.
    """

    __slots__ = ("args", "effect", "field", "key", "limit", "parse", "script")

    def __init__(
        self,
        script: Script,
        key: str,
        args: tuple[Word, ...],
        parse: Callable[[bytes], T],
        field: str = "",
        limit: int = 0,
        effect: Effect | None = None,
    ) -> None:
        self.script = script
        self.key = key
        self.args = args
        self.parse = parse
        self.field = field
        self.limit = limit
        self.effect = effect


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


class Undecided(Enum):
    """The type of ``UNDECIDED``."""

    UNDECIDED = "undecided"


UNDECIDED: Final = Undecided.UNDECIDED
"""Only the server can say."""


class Read(Query[T]):
    """A read of a record, which an image of the record answers as well.

    Attributes:
        answer: makes of the reply the record's version (0: there is none; -1: it has none that redstate wrote), and the
            result.
        of_image: makes the result of an image and of the time on this process's clock; UNDECIDED where that is for the
            server to say.
    """

    __slots__ = ("answer", "of_image")

    def __init__(
        self,
        key: str,
        words: tuple[Word, ...],
        answer: Callable[[Any], tuple[int, T]],
        of_image: Callable[[Image, float], T | Undecided],
        field: str = "",
        script: Script | None = None,
    ) -> None:
        super().__init__(key, words, lambda reply: answer(reply)[1], field, script)
        self.answer = answer
        self.of_image = of_image


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


# A reply is the version before the change, then the operation's entry in the journal,
# "<number><verb> <version> <result>"; columns of fixed width.
_PREVIOUS, _VERSION = slice(0, 16), slice(29, 45)
RESULT = slice(46, None)


def previous_of(answer: bytes) -> int:
    """The version that the change was made on, 0 where there was none; a repeat's answer has one that no record has."""
    return int(answer[_PREVIOUS])


def version_of(answer: bytes) -> int:
    """The version in a reply."""
    return int(answer[_VERSION])


def result_of(answer: bytes) -> int:
    """The whole number after the version."""
    return int(answer[RESULT])
