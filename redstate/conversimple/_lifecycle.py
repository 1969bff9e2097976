"""Sees to it that the user's hooks run when a conversation starts and when it ends.

Hooks run in tasks of their own, so that a slow one holds up neither the websocket nor other
conversations. For each conversation: the started hooks come first, tool calls wait for them, the ended
hooks come last. Each runs once per conversation, in the process that owns it then; ``on_conversation_resumed``
runs in those that take it over later.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from redstate._scope import Scope
from redstate.conversimple._binding import Binding, bound, current_binding
from redstate.conversimple._claims import HookClaims
from redstate.conversimple._retry import PASSING
from redstate.conversimple._userhooks import ENDED, STARTED, HookName, UserHooks
from redstate.errors import RedstateError

if TYPE_CHECKING:
    from redstate.conversimple.agent import StatefulAgent

logger = logging.getLogger("redstate.conversimple")

T = TypeVar("T")

# How many conversations are remembered, so that a repeated message need not ask the store and resumes nothing again.
REMEMBERED = 10_000

# How long to wait before asking a store that failed again, in seconds: for an ended hook, and for a waiting tool call.
_FIRST_RETRY, _LONGEST_RETRY = 1.0, 30.0
_FIRST_CALL_RETRY, _LONGEST_CALL_RETRY = 0.01, 1.0


class StartUnclaimed(Exception):
    """Ends a tool call: whether the started hook ran or is to run here could not be found out."""

    def __init__(self, reason: object) -> None:
        super().__init__(f"The conversation's start could not be claimed in the store: {reason}")


class Disowned(Exception):
    """Ends a tool call without an answer: it is for another worker."""


@dataclass(slots=True)
class _Hooks:
    """The hooks of one conversation.

    Attributes:
        started, ended: their runs, the last ones that were tried; None where they were not called for yet.
        start_known, end_known: whether they are through, here or elsewhere.
        failure: why the last claim of the started hook said nothing.
        over: whether this agent was told of the end while another owns the conversation; if that dies, the end is this
            agent's to see to.
    """

    started: asyncio.Task[None] | None = None
    ended: asyncio.Task[None] | None = None
    start_known: bool = False
    end_known: bool = False
    failure: RedstateError | None = None
    over: bool = False

    @property
    def start_due(self) -> bool:
        return not self.start_known and (self.started is None or self.started.done())

    @property
    def end_due(self) -> bool:
        return not self.end_known and (self.ended is None or self.ended.done())

    @property
    def idle(self) -> bool:
        return all(task is None or task.done() for task in (self.started, self.ended))


class Lifecycle:
    """The hooks of one agent."""

    def __init__(self, agent: StatefulAgent, hooks: UserHooks, claims: HookClaims) -> None:
        self._agent = agent
        self._user_hooks = hooks
        self._claims = claims
        # In the order of their last use.
        self._conversations: dict[str, _Hooks] = {}
        self._running: dict[asyncio.Task[None], str] = {}
        self._stopping = False

    def known(self) -> list[str]:
        """The conversations that this agent has been told of and that have not ended."""
        # Asked from threads as well, while the event loop adds others.
        return [one for one, hooks in list(self._conversations.items()) if hooks.ended is None and not hooks.over]

    def ends(self, conversation_id: str) -> bool:
        """Whether this agent was told that the conversation has ended."""
        hooks = self._conversations.get(conversation_id)
        return hooks is not None and (hooks.ended is not None or hooks.over)

    def is_ending(self, conversation_id: str) -> bool:
        """Whether this agent was told of the end and is not through with it, or had to leave it to others."""
        hooks = self._conversations.get(conversation_id)
        return hooks is not None and hooks.ended is not None and not (hooks.ended.done() and hooks.end_known)

    def lose(self, conversation_id: str) -> None:
        """The conversation is another's: whatever becomes of it, this agent hears of it anew."""
        self._conversations.pop(conversation_id, None)

    async def begin(self, conversation_id: str) -> None:
        """Start the started hooks, unless they ran before, the conversation has ended, or it is another's."""
        if isinstance(conversation_id, str) and not self._agent._ownership.held(conversation_id):
            return
        hooks = self._hooks_of(conversation_id)
        if hooks and hooks.start_due and hooks.ended is None:
            hooks.started = self._start(STARTED, conversation_id, self._run_started(conversation_id, hooks))

    async def end(self, conversation_id: str) -> None:
        """Start the ended hooks, unless they ran before; they wait for the started ones."""
        hooks = self._hooks_of(conversation_id)
        if hooks and hooks.end_due:
            hooks.ended = self._start(ENDED, conversation_id, self._run_ended(conversation_id, hooks))

    async def begun(self, conversation_id: str) -> None:
        """Start the started hooks if they are due, and wait until they are through, or one attempt to claim them is."""
        await self.begin(conversation_id)
        hooks = self._conversations.get(conversation_id)
        if hooks and hooks.started:
            # asyncio.wait leaves the hook running when the waiting call is cancelled.
            await asyncio.wait({hooks.started})

    async def wait_started(self, conversation_id: str | None) -> None:
        """Wait until the started hooks of the conversation are through, here or in another process.

        A call can be the first that this process hears of a conversation that others served before. While the store
        cannot tell, it is asked again: a hook that ran after a tool would overwrite what that has written.

        Raises:
            StartUnclaimed: the store could not tell, and asking again is no use.
            Disowned: the conversation is another worker's, or will be, as the agent is stopping.
        """
        pause = _FIRST_CALL_RETRY
        while conversation_id:
            await self.begun(conversation_id)
            if not self._agent._ownership.held(conversation_id):
                raise Disowned
            hooks = self._conversations.get(conversation_id)
            if hooks is None or hooks.start_known:
                return
            if hooks.failure and not isinstance(hooks.failure, PASSING):
                raise StartUnclaimed(hooks.failure)
            if await self._claims.pause(pause):
                raise Disowned
            pause = min(pause * 2, _LONGEST_CALL_RETRY)

    def check_claimed(self, conversation_id: str | None) -> None:
        """Tell a call that waited in vain if it was for the store.

        Raises:
            StartUnclaimed: the last attempt to claim the started hooks failed.
        """
        hooks = self._conversations.get(conversation_id) if conversation_id else None
        if hooks and hooks.failure and not hooks.start_known:
            raise StartUnclaimed(hooks.failure)

    async def pause(self, seconds: float) -> bool:
        """Wait. Returns whether the agent is stopping, which ends it early."""
        return await self._claims.pause(seconds)

    def resume(self) -> None:
        """The agent starts (again)."""
        self._stopping = False
        self._claims.stay()

    async def drain(self) -> None:
        """Wait until the running hooks are through, except those of the conversation that the caller serves."""
        self._stopping = True
        self._claims.leave()
        if others := self.running():
            await asyncio.wait(others)
        self._rest()

    def running(self) -> dict[asyncio.Task[None], str]:
        """The hooks that run, by their conversations, except those of the conversation that the caller serves."""
        # A hook that stops its own agent would otherwise wait for itself.
        binding = current_binding()
        own = binding.conversation_id if binding and binding.agent is self._agent else None
        return {task: conversation_id for task, conversation_id in self._running.items() if conversation_id != own}

    def _rest(self) -> None:
        if self._stopping and not self._running:
            self._agent._stores.threads.close()

    def _hooks_of(self, conversation_id: str) -> _Hooks | None:
        if not isinstance(conversation_id, str) or not conversation_id:
            logger.warning("ignored a lifecycle message without a conversation id")
            return None
        hooks = self._conversations.pop(conversation_id, None)
        if hooks is None:
            hooks = _Hooks()
            self._forget_oldest()
        self._conversations[conversation_id] = hooks
        return hooks

    def _forget_oldest(self) -> None:
        # Endings can be lost, or go to other processes only. Whoever is forgotten is known again by the store's marks.
        if len(self._conversations) >= REMEMBERED:
            idle = next((one for one, hooks in self._conversations.items() if hooks.idle), None)
            if idle is not None:
                del self._conversations[idle]

    def _start(self, name: HookName, conversation_id: str, run: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(run, name=f"{name}:{conversation_id}")
        self._running[task] = conversation_id
        task.add_done_callback(self._finish)
        return task

    def _finish(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._rest()

    async def _run_started(self, conversation_id: str, hooks: _Hooks) -> None:
        if not self._agent._ownership.held(conversation_id):
            return
        with bound(self._binding(conversation_id, starting=True)):
            if self._user_hooks.act_at_start():
                try:
                    mine = await self._claims.claim(STARTED, conversation_id)
                except RedstateError as error:
                    # The next message or tool call asks again; calls do so often, and it is told once.
                    told, hooks.failure = hooks.failure, error
                    if type(told) is not type(error):
                        await self._user_hooks.report(STARTED, conversation_id, error)
                    return
                hooks.failure = None
                if mine is None:
                    return
                if mine:
                    async with self._claims.held(STARTED, conversation_id):
                        await self._run(STARTED, conversation_id)
                else:
                    await self._user_hooks.resumed(conversation_id)
            hooks.start_known = True

    async def _run_ended(self, conversation_id: str, hooks: _Hooks) -> None:
        if not await self._owned_at_last(conversation_id):
            hooks.over = True
            return
        await self._run_last(conversation_id, hooks)
        if not hooks.end_known and not self._agent._ownership.held(conversation_id):
            hooks.over = True
        if hooks.end_known:
            await self._told(ENDED, conversation_id, self._agent._ownership.release(conversation_id))

    async def _owned_at_last(self, conversation_id: str) -> bool:
        """Whether the conversation is this agent's; after the end no later message would ask again."""
        pause = _FIRST_RETRY
        while True:
            try:
                return await self._agent._ownership.hold(conversation_id, ending=True) is not None
            except RedstateError as error:
                await self._user_hooks.report(ENDED, conversation_id, error)
                if not isinstance(error, PASSING) or await self._claims.pause(pause):
                    return False
            pause = min(pause * 2, _LONGEST_RETRY)

    async def _run_last(self, conversation_id: str, hooks: _Hooks) -> None:
        if hooks.started:
            await asyncio.wait({hooks.started})
        if hooks.start_due:
            hooks.started = self._start(STARTED, conversation_id, self._skip_started(conversation_id, hooks))
            await asyncio.wait({hooks.started})
        if not hooks.start_known or not self._agent._ownership.held(conversation_id):
            return
        with bound(self._binding(conversation_id)):
            while mine := await self._claimed_at_last(ENDED, conversation_id):
                async with self._claims.held(ENDED, conversation_id):
                    # Before the hooks: they may clean the state up, with the customer's id in it.
                    customer_id = await self._merged(conversation_id)
                    if customer_id is not None:
                        await self._run(ENDED, conversation_id)
                        await self._told(ENDED, conversation_id, self._ended(conversation_id, customer_id))
                        hooks.end_known = True
                        return
                # The lease runs out, and whoever asks first, in this process or another, tries again.
                if await self._claims.pause(self._claims.lease):
                    return
            hooks.end_known = mine is False

    def _binding(self, conversation_id: str, *, starting: bool = False) -> Binding:
        """What a hook runs under: its changes are the owner's."""
        claim = self._agent._ownership.held(conversation_id)
        scope = None if claim is None else Scope(claim.key, claim.token)
        return Binding(self._agent, conversation_id, starting=starting, scope=scope)

    async def _skip_started(self, conversation_id: str, hooks: _Hooks) -> None:
        """See to it that the started hooks are through, or that they never run: the conversation has ended."""
        if self._user_hooks.act_at_start():
            mine = await self._claimed_at_last(STARTED, conversation_id)
            if mine is None:
                return
            if mine:
                await self._told(STARTED, conversation_id, self._claims.done(STARTED, conversation_id))
        hooks.start_known = True

    async def _run(self, name: HookName, conversation_id: str) -> None:
        await self._user_hooks.run(name, conversation_id)
        await self._told(name, conversation_id, self._claims.done(name, conversation_id))

    async def _merged(self, conversation_id: str) -> str | None:
        """Merge the conversation into its customer's profile.

        Returns:
            Whose it is; "" where it is merged into none; None where trying again later may help.
        """
        try:
            return await self._claims.insist(lambda: self._agent._stores.merge(conversation_id))
        except RedstateError as error:
            await self._user_hooks.report(ENDED, conversation_id, error)
            return None if isinstance(error, PASSING) else ""

    async def _ended(self, conversation_id: str, customer_id: str) -> None:
        """End the conversation in the store, as that of the customer that it was merged into."""
        await self._claims.insist(lambda: self._agent._stores.end(conversation_id, customer_id))

    async def _claimed_at_last(self, name: HookName, conversation_id: str) -> bool | None:
        """Whether the hooks are this process's; None where the store cannot tell, or the agent is stopping.

        After the end no later message would ask again, so this does by itself.
        """
        pause = _FIRST_RETRY
        while True:
            try:
                return await self._claims.claim(name, conversation_id)
            except RedstateError as error:
                await self._user_hooks.report(name, conversation_id, error)
                passing = isinstance(error, PASSING)
            if not passing or await self._claims.pause(pause):
                return None
            pause = min(pause * 2, _LONGEST_RETRY)

    async def _told(self, name: str, conversation_id: str, work: Awaitable[T]) -> T | None:
        """What ``work`` results in; None where the store failed, which is logged and told to the error callback."""
        try:
            return await work
        except RedstateError as error:
            await self._user_hooks.report(name, conversation_id, error)
            return None
