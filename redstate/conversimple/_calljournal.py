"""The journal of one tool call, in the record of its conversation: what makes it run once, in whichever process."""

from __future__ import annotations

import logging
from uuid import uuid4

from redstate._keys import call_pen
from redstate._scope import CallPen, Scope
from redstate.calls import toolcalls
from redstate.calls.toolcalls import Begun, CallName, Ending
from redstate.conversimple._claimant import Claim
from redstate.conversimple._requests import Answer, Request
from redstate.conversimple._retry import PASSING, insist
from redstate.conversimple._stores import RecordName, Stores
from redstate.errors import RedstateError

logger = logging.getLogger("redstate.conversimple")

# How long at least to try to keep an answer, in seconds.
_KEEP_FOR = 1.0


class CallJournal:
    """The journal of one request.

    Args:
        stores: how to reach the server.
        request: the call.

    Raises:
        InvalidId: its conversation id cannot name a conversation.
    """

    def __init__(self, stores: Stores, request: Request) -> None:
        self._stores = stores
        self._request = request
        assert request.conversation_id is not None
        self.record: RecordName = stores.record(request.conversation_id)
        self.name = CallName(self.record.key, call_pen(request.conversation_id, str(request.call_id)))
        self._attempt = uuid4().hex

    async def begin(self, claim: Claim) -> Begun:
        """Begin the call as the conversation's owner.

        Raises:
            Fenced: there is a newer owner.
            RedstateError: the store could not tell until the call's time was up.
        """
        call = toolcalls.begin(self.name, claim.ttl_ms, claim.token, self._attempt, self._request.payload())
        return await insist(lambda: self._stores.ask(call), self._request.left)

    async def post(self) -> None:
        """Leave the call to whoever owns the conversation next, or now.

        Raises:
            RedstateError: the store could not do it.
        """
        await self._stores.ask(toolcalls.post(self.name, self.record.ttl_ms, self._request.payload()))

    async def sent(self) -> None:
        """Note that the answer was sent, as far as that can be known."""
        try:
            await self._stores.ask(toolcalls.sent(self.name))
        except RedstateError as error:
            # The next owner sends it once more.
            logger.debug("that call %r was answered could not be noted: %s", self._request.call_id, error)

    async def look(self) -> Begun | None:
        """What has become of the call, which may be another's.

        Raises:
            RedstateError: the store could not tell.
        """
        return await self._stores.ask(toolcalls.look(self.name))

    def scope(self, claim: Claim, begun: Begun, left: float) -> Scope:
        """What the changes of the call are subject to; ``left`` is how many seconds it has from now on."""
        # The server's clock was read before its answer came, so this is no later than the time that the caller has.
        deadline_us = begun.now_us + int(left * 1_000_000)
        return Scope(claim.key, claim.token, CallPen(claim.key, self.name.pen, deadline_us))

    async def finish(self, claim: Claim, answer: Answer, *, changed: bool) -> Ending | None:
        """Record the answer. Returns None where the store could not do it: a redelivered call is then run again, and
        what it has changed is not changed twice.

        While an answer cannot be recorded, another worker may be the owner by now, run the call too, and answer
        otherwise. So where the call may have changed something the store is asked for as long as the call has time.
        Where it has not, its answer is most often that the store is away, and does not wait.

        Args:
            claim: as the call was begun.
            answer: what to record.
            changed: whether the call may have changed anything.

        Raises:
            Fenced: there is a newer owner, who answers the call.
        """
        call = toolcalls.finish(self.name, claim.ttl_ms, claim.token, self._attempt, answer.record())
        seconds = max(self._request.left, _KEEP_FOR) if changed else _KEEP_FOR
        try:
            return await insist(lambda: self._stores.ask(call, timeout=seconds), seconds)
        except PASSING as error:
            logger.warning("the answer of call %r could not be journalled: %s", self._request.call_id, error)
            return None
