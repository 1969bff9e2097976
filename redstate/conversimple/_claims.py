"""Claims hooks in the store, so that each runs once per conversation across all processes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar
from uuid import uuid4

from redstate._call import Query
from redstate._jitter import between
from redstate._keys import hook_field
from redstate.calls import hooks
from redstate.conversimple._stores import Stores
from redstate.errors import ConflictError, OutcomeUnknown, RedstateError, StoreError
from redstate.transport.base import forget_at_fork

CallFor = Callable[[Any], Query[Any]]
T = TypeVar("T")

# What may be different when it is tried again.
PASSING = (StoreError, OutcomeUnknown, ConflictError)

# How long to wait before asking again whether another process is through with a hook, in seconds.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.25

logger = logging.getLogger("redstate.conversimple")


class HookClaims:
    """The claims of one agent.

    Args:
        stores: the agent's.
        agent_name: what tells the hooks of one kind of agent from those of another in the same conversation; the same
            in all processes.
        lease: seconds after which a process that has a hook and gives no sign of life loses it to another.

    Attributes:
        lease: the same.
    """

    def __init__(self, stores: Stores, agent_name: str, lease: float) -> None:
        self._stores = stores
        self._agent_name = agent_name
        self.lease = lease
        self.forget()
        forget_at_fork(self)

    def forget(self) -> None:
        """Be a claimant of its own, in a forked process as in a new one."""
        # A claim whose answer was lost is known by it as this agent's own.
        self._claimant = uuid4().hex
        self._leaving = asyncio.Event()

    async def claim(self, hook: str, conversation_id: str) -> bool | None:
        """Whether the hook is to run here.

        Returns:
            True: run it, then call ``done``. False: it has run elsewhere. None: another process is at it, and this
            agent is stopping, which waits for nobody.

        Raises:
            RedstateError: the store could not tell.
        """
        pause = _FIRST_PAUSE
        while (verdict := await self._ask(hook, conversation_id)) == "wait":
            if await self.pause(between(pause / 2, pause)):
                return None
            pause = min(pause * 2, _LONGEST_PAUSE)
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

        Raises:
            RedstateError: the store could not be told; another process runs the hook again when the lease is over.
        """
        field, claimant = hook_field(self._agent_name, hook), self._claimant
        await self.insist(
            lambda: self._ask_store(
                conversation_id, lambda record: hooks.done(record.key, record.ttl_ms, field, claimant)
            )
        )

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
        field = hook_field(self._agent_name, hook)
        verdict: hooks.Verdict = await self._ask_store(
            conversation_id, lambda record: hooks.claim(record.key, record.ttl_ms, field, self._claimant, self.lease)
        )
        return verdict

    async def _ask_store(self, conversation_id: str, call_for: CallFor) -> Any:
        if self._stores.awaited:
            record = self._stores.for_loop().conversation(conversation_id)._record
            return await record.ask(call_for(record))
        blocking = self._stores.for_threads().conversation(conversation_id)._record
        return await self._stores.threads.run(blocking.ask, call_for(blocking))
