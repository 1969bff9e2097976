"""Claims hooks in the store, so that each runs once per conversation across all processes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar
from uuid import uuid4

from redstate._jitter import between
from redstate._keys import hook_field
from redstate.calls import hooks
from redstate.conversimple._retry import PASSING
from redstate.conversimple._stores import Stores
from redstate.errors import ConversationAbsent, RedstateError
from redstate.transport.base import forget_at_fork

T = TypeVar("T")

# How long to wait before asking again whether another process is through with a hook, in seconds.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.25

logger = logging.getLogger("redstate.conversimple")


class HookClaims:
    """The claims of one agent.

    Args:
        stores: the agent's.
        agent_name: what tells the hooks of one kind of agent from those of another in the same conversation; the same
            in all processes.
        lease: seconds after which a process that has a hook and gives no sign of life loses it to another. The owner of
            the conversation does not wait for that.
        token_of: tells the token under which this agent owns a conversation; 0 where it does not.

    Attributes:
        lease: the same.
    """

    def __init__(self, stores: Stores, agent_name: str, lease: float, token_of: Callable[[str], int]) -> None:
        self._stores = stores
        self._agent_name = agent_name
        self.lease = lease
        self._token_of = token_of
        self.forget()
        forget_at_fork(self)

    def forget(self) -> None:
        """Be a claimant of its own, in a forked process as in a new one."""
        # A claim whose answer was lost is known by it as this agent's own.
        self._name = uuid4().hex
        # Whose the hooks are that run here.
        self._mine: dict[tuple[str, str], str] = {}
        self._leaving = asyncio.Event()

    async def claim(self, hook: str, conversation_id: str) -> bool | None:
        """Whether the hook is to run here.

        Returns:
            True: run it, then call ``done``. False: it has run elsewhere. None: it is none of this agent's business any
            more, as the conversation has another owner, or as another process is at it and this agent is stopping.

        Raises:
            RedstateError: the store could not tell.
        """
        pause = _FIRST_PAUSE
        while (verdict := await self._ask(hook, conversation_id)) == "wait":
            if await self.pause(between(pause / 2, pause)):
                return None
            pause = min(pause * 2, _LONGEST_PAUSE)
        if verdict == "fenced":
            return None
        if verdict == "run":
            # It stays this claimant's, also where the agent stops meanwhile and owns nothing any more.
            self._mine[hook, conversation_id] = self._claimant(conversation_id)
        return verdict == "run"

    @contextlib.asynccontextmanager
    async def held(self, hook: str, conversation_id: str) -> AsyncIterator[None]:
        """Keep a claimed hook, however long the block takes."""
        renewing = asyncio.create_task(self._renew(hook, conversation_id))
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.wait({renewing})

    async def done(self, hook: str, conversation_id: str) -> None:
        """Report a claimed hook as done; repeated for one lease while the store fails.

        Where the conversation has left the store meanwhile there is nothing to report: it runs nowhere any more.

        Raises:
            RedstateError: the store could not be told; another process runs the hook again when the lease is over.
        """
        record, field = self._stores.record(conversation_id), hook_field(self._agent_name, hook)
        claimant = self._mine.pop((hook, conversation_id), None) or self._claimant(conversation_id)
        call = hooks.done(record.key, record.ttl_ms, field, claimant)
        with contextlib.suppress(ConversationAbsent):
            await self.insist(lambda: self._stores.ask(call))

    async def insist(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Await ``attempt()``, again and again for one lease while the store fails in a way that can pass.

        Raises:
            RedstateError: the last failure.
        """
        clock = asyncio.get_running_loop().time
        until, pause = clock() + self.lease, _FIRST_PAUSE
        while True:
            try:
                return await attempt()
            except PASSING:
                if clock() >= until or await self.pause(pause):
                    raise
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def pause(self, seconds: float) -> bool:
        """Wait. Returns whether the agent is stopping, which ends it early."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._leaving.wait()
        return self._leaving.is_set()

    def leave(self) -> None:
        """The agent stops: wait for no other process any more."""
        self._leaving.set()

    def stay(self) -> None:
        """The agent starts."""
        if self._leaving.is_set():
            # A new one, as an event stays with the event loop that it was waited for in.
            self._leaving = asyncio.Event()

    async def _renew(self, hook: str, conversation_id: str) -> None:
        while True:
            await asyncio.sleep(self.lease / 3)
            try:
                if await self._ask(hook, conversation_id) != "run":
                    break
            except RedstateError as error:
                logger.warning("%s of conversation %r: its lease was not renewed: %s", hook, conversation_id, error)
        logger.warning(
            "%s of conversation %r was given to another process, as this one stood still for %g s",
            hook,
            conversation_id,
            self.lease,
        )

    async def _ask(self, hook: str, conversation_id: str) -> hooks.Verdict:
        record, field = self._stores.record(conversation_id), hook_field(self._agent_name, hook)
        claimant = self._mine.get((hook, conversation_id)) or self._claimant(conversation_id)
        try:
            return await self._stores.ask(hooks.claim(record.key, record.ttl_ms, field, claimant, self.lease))
        except ConversationAbsent:
            return "done"  # it has left for the archive, and nothing of it runs any more

    def _claimant(self, conversation_id: str) -> str:
        return f"{self._token_of(conversation_id):016d}{self._name}"
