"""Several changes of one record in one script, on the condition that fields still hold what they were seen to hold."""

from __future__ import annotations

import functools
from collections.abc import Callable

from redstate import _scripts
from redstate._call import Mutation, Word
from redstate._codec import Limits
from redstate.calls import effects
from redstate.calls.weight import weighed
from redstate.errors import TooLarge

_COMMIT = _scripts.load("record_commit")

# A script looks at each field named, and hands them to one command.
MOST_CHANGES = 3_600


class Commit:
    """Collects the conditions and the changes of one commit; every field is a whole name of the hash (``_keys``).

    A field may have one condition and one change.
    """

    __slots__ = ("_words",)

    def __init__(self) -> None:
        self._words: list[Word] = []

    def __len__(self) -> int:
        return len(self._words) // 3

    def expect(self, field: str, value: bytes | str | None) -> Commit:
        """Only if the field holds ``value``; None: only if it is absent. Returns this."""
        self._words += ("!", field, "") if value is None else ("=", field, value)
        return self

    def set(self, field: str, value: bytes | str) -> Commit:
        """Set the field. Returns this."""
        self._words += ("s", field, value)
        return self

    def renew(self, field: str, value: bytes | str) -> Commit:
        """Set the state field, and make it the last in their order, as if it had been deleted first. Returns this."""
        self._words += ("r", field, value)
        return self

    def set_new(self, field: str, value: bytes | str) -> Commit:
        """Set the field unless it is there. Returns this."""
        self._words += ("n", field, value)
        return self

    def delete(self, field: str) -> Commit:
        """Delete the field. Returns this."""
        self._words += ("d", field, "")
        return self

    def increment(self, field: str, by: int) -> Commit:
        """Add to a whole number, within 53 bits. Returns this."""
        self._words += ("i", field, str(by))
        return self

    def stamp(self, field: str) -> Commit:
        """Set the field to the version of this change: sixteen digits of server time in microseconds. Returns this."""
        self._words += ("t", field, "")
        return self

    def anyhow(self) -> Commit:
        """Also where the server's memory is full: it makes room. Returns this."""
        self._words += ("f", "", "")
        return self

    def nothing(self) -> Commit:
        """There turned out to be nothing to change, which is remembered under the operation's id. Returns this."""
        self._words += ("-", "", "")
        return self

    def call(
        self, limits: Limits, key: str, parse: Callable[[bytes], int] | None = None, what: str = "changes"
    ) -> Mutation[int]:
        """The call that performs it. Returns the record's new version unless ``parse`` makes something else of it.

        Raises:
            TooLarge: more than 3,600 conditions and changes.
        """
        if len(self) > MOST_CHANGES:
            raise TooLarge(
                f"{len(self):,} {what} at once exceed {MOST_CHANGES:,}",
                next_step="Split the change",
                path="",
                limit=MOST_CHANGES,
                actual=len(self),
                unit="changes",
            )
        caps = (str(limits.max_fields), str(limits.max_conversation_bytes))
        parse = parse or functools.partial(weighed, limits, key)
        args = (*caps, *self._words)
        return Mutation(_COMMIT, key, args, parse, limit=limits.max_fields, effect=effects.record_commit)
