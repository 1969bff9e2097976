"""Calls that make a tool call of a conversation run once, whichever processes it reaches.

The window: of each conversation the last 64 calls are remembered, none for longer than an hour, and of an answer at
most 64 KiB. Beyond that a redelivered call is a new one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

from redstate import _keys, _scripts
from redstate._call import Query
from redstate.calls.record import ttl_word

_BEGIN = _scripts.load("call_begin")
_FINISH = _scripts.load("call_finish")
_OPEN = _scripts.load("call_open")
_SENT = _scripts.load("call_sent")

REMEMBERED = 64
REMEMBERED_FOR = 3_600.0
"""Seconds; longer than any call may run."""
LARGEST_ANSWER = 64 * 1024
"""Bytes of an answer that is kept for redeliveries."""
LARGEST_REQUEST = 64 * 1024
"""Bytes of a request that is kept, so that the next owner can run it without being asked again."""

TRIES = 3
"""How often a call is begun whose owners die, or stand still, before they have finished it."""

_DONE = b"9999999999cd "
_POSTED = "0"
# A token that no owner's is above.
_ANYBODY = 9_999_999_999_999_999

Verdict = Literal["run", "again", "spent", "wait", "full", "done"]
Ending = Literal["kept", "done", "gone", "lost"]


@dataclass(frozen=True, slots=True)
class CallName:
    """Where a tool call's journal is: the record's key, and the call's pen (see ``_keys.call_pen``)."""

    key: str
    pen: str

    @property
    def journal(self) -> str:
        """The hash field of its journal."""
        return _keys.CALL + self.pen

    @property
    def run(self) -> str:
        """The hash field of who runs it."""
        return _keys.RUN + self.pen


@dataclass(frozen=True, slots=True)
class Begun:
    """What became of beginning a call.

    Attributes:
        verdict: "run": it is to be run now; "again": likewise, and some of its changes may have been made; "spent":
            it is not to be run any more, as none of its owners survived it; "wait": it runs elsewhere; "full": as many
            run as are remembered; "done": it is over.
        now_us: the server's clock in microseconds, where it is to be run.
        answer: what was recorded, if it is over; empty where that was too large.
    """

    verdict: Verdict
    now_us: int = 0
    answer: bytes = b""


def begin(name: CallName, ttl_ms: int, token: int, attempt: str, request: bytes) -> Query[Begun]:
    """Begin a call as the conversation's owner. Asking again under the same ``attempt`` changes nothing.

    Args:
        name: the call.
        ttl_ms: how long the record lives from now on, in milliseconds.
        token: the owner's fencing token.
        attempt: hex digits that no other run of this call has.
        request: what was asked for, for the next owner; not kept where it is too large.

    Its errors include Fenced: there is a newer owner.
    """
    return _begin(name, ttl_ms, token, (f"{token:016d}", attempt), request)


def post(name: CallName, ttl_ms: int, request: bytes) -> Query[Begun]:
    """Leave a call that was not begun to whoever owns the conversation next, or now; see ``begin``."""
    return _begin(name, ttl_ms, _ANYBODY, ("0" * 16, _POSTED), request)


def _begin(name: CallName, ttl_ms: int, token: int, run: tuple[str, str], request: bytes) -> Query[Begun]:
    kept = request if len(request) <= LARGEST_REQUEST else b""
    window = (str(REMEMBERED), str(round(REMEMBERED_FOR * 1_000_000)))
    words = (*_BEGIN.evalsha, name.key, ttl_word(ttl_ms), name.journal, name.run, f"{token:016d}", *run, *window)
    return Query(name.key, (*words, str(TRIES), kept), _begun, name.journal, _BEGIN)


def _begun(reply: bytes) -> Begun:
    verdict, _, rest = reply.partition(b" ")
    if verdict == b"done":
        return Begun("done", 0, _answer(rest))
    return Begun(cast(Verdict, verdict.decode()), int(rest))


def look(name: CallName) -> Query[Begun | None]:
    """What has become of a call, for a process that does not own the conversation; None where it has not begun."""

    def parse(reply: bytes | None) -> Begun | None:
        if reply is None:
            return None
        return Begun("done", 0, _answer(reply[len(_DONE) : -11])) if reply.startswith(_DONE) else Begun("wait")

    return Query(name.key, ("HGET", name.key, name.journal), parse)


def finish(name: CallName, ttl_ms: int, token: int, attempt: str, answer: bytes) -> Query[Ending]:
    """Record the answer of a call: "kept"; "done": that was done before; "gone": there is no such call any more;
    "lost": another owner has begun it anew, and its answer is the one that counts.

    Args:
        name, ttl_ms, token, attempt: as it was begun.
        answer: JSON without line breaks.

    Its errors include Fenced: there is a newer owner.
    """
    # The scripts find their way in journals by these two; in JSON they stand in texts only, where they can be escaped.
    kept = answer.replace(b";", b"\\u003b").replace(b"|", b"\\u007c") if len(answer) <= LARGEST_ANSWER else b""
    words = (*_FINISH.evalsha, name.key, ttl_word(ttl_ms), name.journal, name.run, f"{token:016d}", attempt, kept)
    return Query(name.key, words, lambda reply: cast(Ending, reply.decode()), name.journal, _FINISH)


def sent(name: CallName) -> Query[None]:
    """The answer was sent, so the next owner need not see to it; nothing where there is none yet."""
    words = (*_SENT.evalsha, name.key, name.journal, name.run)
    return Query(name.key, words, lambda reply: None, name.journal, _SENT)


def unanswered(key: str) -> Query[list[tuple[int, bytes]]]:
    """The calls that were begun, and whose answer was not sent as far as is known, oldest first: when they began, in
    microseconds of the server's clock, and what was asked for.
    """

    def parse(reply: list[bytes]) -> list[tuple[int, bytes]]:
        return [(int(one[:16]), one[17:]) for one in reply]

    return Query(key, (*_OPEN.evalsha, key), parse, script=_OPEN)


def _answer(rest: bytes) -> bytes:
    # Sixteen digits of time come first.
    return rest[17:]
