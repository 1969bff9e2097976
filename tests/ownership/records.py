"""What the tests of ownership ask of a store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redstate import Store
from redstate._keys import call_pen, conversation_key
from redstate._scope import CallPen, Scope, current
from redstate.calls import ownership, toolcalls
from redstate.calls.ownership import ClaimAnswer
from redstate.calls.toolcalls import Begun, CallName

TTL_MS = 60_000
FAR = 9_000_000_000_000_000


class Owners:
    """Owners of one conversation, and their calls."""

    def __init__(self, store: Store, prefix: str, conversation_id: str = "c1") -> None:
        self.store, self.prefix, self.id = store, prefix, conversation_id
        self.key = conversation_key(prefix, conversation_id)
        self.conversation = store.conversation(conversation_id)

    def ask(self, call: Any) -> Any:
        return self.conversation._record.ask(call)

    def claim(self, owner: str, **options: Any) -> ClaimAnswer:
        answer: ClaimAnswer = self.ask(ownership.claim(self.key, TTL_MS, owner, **options))
        return answer

    def release(self, owner: str) -> bool:
        return bool(self.ask(ownership.release(self.key, owner)))

    def beat(self, lease: float, *renewed: str, joining: tuple[str, ...] = ()) -> ownership.Beat:
        beat: ownership.Beat = self.ask(ownership.beat(self.prefix, lease, renewed, joining))
        return beat

    def alive(self, owner: str) -> bool:
        return bool(self.ask(ownership.alive(self.prefix, owner)))

    def name(self, call_id: str) -> CallName:
        return CallName(self.key, call_pen(self.id, call_id))

    def begin(self, call_id: str, token: int, attempt: str = "a", request: bytes = b"{}") -> Begun:
        begun: Begun = self.ask(toolcalls.begin(self.name(call_id), TTL_MS, token, attempt, request))
        return begun

    def finish(self, call_id: str, token: int, answer: bytes = b'"done"', attempt: str = "a") -> str:
        return str(self.ask(toolcalls.finish(self.name(call_id), TTL_MS, token, attempt, answer)))

    def sent(self, call_id: str) -> None:
        self.ask(toolcalls.sent(self.name(call_id)))

    def post(self, call_id: str, request: bytes = b"{}") -> Begun:
        begun: Begun = self.ask(toolcalls.post(self.name(call_id), TTL_MS, request))
        return begun

    def look(self, call_id: str) -> Begun | None:
        begun: Begun | None = self.ask(toolcalls.look(self.name(call_id)))
        return begun

    def found(self, call_id: str) -> Begun:
        """What became of a call that is known."""
        begun = self.look(call_id)
        assert begun is not None
        return begun

    def unfinished(self) -> list[tuple[int, bytes]]:
        return list(self.ask(toolcalls.unanswered(self.key)))

    def pen(self, call_id: str, deadline_us: int = FAR) -> CallPen:
        return CallPen(self.key, call_pen(self.id, call_id), deadline_us)

    @contextmanager
    def acting(self, token: int, pen: CallPen | None = None) -> Iterator[None]:
        """Make the block's changes as an owner, as a tool call or not."""
        before = current.set(Scope(self.key, token, pen))
        try:
            yield
        finally:
            current.reset(before)
