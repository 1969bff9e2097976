"""Calls that make a hook of a conversation run once across all processes."""

from __future__ import annotations

from typing import Literal, cast

from redstate import _scripts
from redstate._call import Query
from redstate.calls.record import ttl_word

_CLAIM = _scripts.load("hook_claim")
_DONE = _scripts.load("hook_done")

Verdict = Literal["run", "wait", "done", "fenced"]


def claim(key: str, ttl_ms: int, field: str, claimant: str, lease: float) -> Query[Verdict]:
    """Ask for the hook. "run": it is this claimant's; "wait": another one's, under way; "done": it ran;
    "fenced": the conversation has a newer owner.

    Args:
        key: the conversation's record.
        ttl_ms: the record's expiry from now on.
        field: the hook's hash field.
        claimant: who asks: sixteen digits, the token of an owner or zeros, and hex digits that nobody else has. Asking
            again gives the same one a new lease.
        lease: seconds after which another claimant gets it unless it was reported as done.

    Its errors include CorruptState: the field holds no mark of a hook.
    """
    words = (*_CLAIM.evalsha, key, ttl_word(ttl_ms), field, str(round(lease * 1_000_000)), claimant)
    return Query(key, words, lambda reply: cast(Verdict, reply.decode()), field, _CLAIM)


def done(key: str, ttl_ms: int, field: str, claimant: str) -> Query[None]:
    """Report the hook as done. It counts only from the claimant who has it."""
    return Query(key, (*_DONE.evalsha, key, ttl_word(ttl_ms), field, claimant), lambda reply: None, field, _DONE)
