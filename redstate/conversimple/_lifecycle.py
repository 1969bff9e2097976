"""Runs the user's hooks when a conversation starts and when it ends.

Hooks run in tasks of their own, so that a slow one holds up neither the websocket nor other
conversations. For each conversation: the started hooks come first, tool calls wait for them, the ended
hooks come last. Each runs once per conversation, in one of the processes that serve it; in the others
``on_conversation_resumed`` runs when the started hooks are through.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from redstate.conversimple._binding import Binding, bound, current_binding
from redstate.conversimple._claims import HookClaims
from redstate.errors import RedstateError, StoreError

if TYPE_CHECKING:
    from redstate.conversimple.agent import StatefulAgent

logger = logging.getLogger("redstate.conversimple")

HookName = Literal["on_conversation_started", "on_conversation_ended"]
RESUMED = "on_conversation_resumed"
Hook = Callable[[str], Any]
T = TypeVar("T")

# How many ended conversations are remembered, so that a repeated message does not fire their hooks again.
ENDED_REMEMBERED = 10_000

# How long to wait before asking a store that failed again whether an ended hook is to run here, in seconds.
_FIRST_RETRY, _LONGEST_RETRY = 1.0, 30.0

_ROUTES_TO = "_redstate_routes_to"


class Done:
    """What the base hooks return: may be awaited, and need not be."""

    def __await__(self) -> Generator[None, None, None]:
        """Finish at once."""
        yield from ()


DONE = Done()


@dataclass(slots=True)
class _Hooks:
    """The runs of one conversation's hooks; None where they were not called for yet."""

    started: asyncio.Task[None] | None = None
    ended: asyncio.Task[None] | None = None


class Lifecycle:
    """The hooks of one agent."""

    def __init__(self, agent: StatefulAgent, claims: HookClaims) -> None:
        self._agent = agent
        self._claims = claims
        self._registered: dict[HookName, list[Hook]] = {"on_conversation_started": [], "on_conversation_ended": []}
        self._conversations: dict[str, _Hooks] = {}
        self._ended: deque[str] = deque()
        self._running: dict[asyncio.Task[None], str] = {}

    def register(self, name: HookName, callback: Hook) -> None:
        """Add ``callback`` to those that run after the agent's own hook."""
        self._registered[name].append(callback)

    def known(self) -> list[str]:
        """The conversations that this agent has been told of and that have not ended."""
        # Asked from threads as well, while the event loop adds others.
        return [one for one, hooks in list(self._conversations.items()) if hooks.ended is None]

    async def begin(self, conversation_id: str) -> None:
        """Start the started hooks, unless they ran before or the conversation has ended."""
        hooks = self._hooks_of(conversation_id)
        if hooks and hooks.started is None and hooks.ended is None:
            hooks.started = self._start("on_conversation_started", conversation_id, hooks)

    async def end(self, conversation_id: str) -> None:
        """Start the ended hooks, unless they ran before; they wait for the started ones."""
        hooks = self._hooks_of(conversation_id)
        if hooks and hooks.ended is None:
            hooks.ended = self._start("on_conversation_ended", conversation_id, hooks)
            self._ended.append(conversation_id)
            if len(self._ended) > ENDED_REMEMBERED:
                del self._conversations[self._ended.popleft()]

    async def wait_started(self, conversation_id: str | None) -> None:
        """Wait until the started hooks of the conversation are through, here or in another process.

        A call can be the first that this process hears of a conversation that others served before.
        """
        if conversation_id:
            await self.begin(conversation_id)
        hooks = self._conversations.get(conversation_id) if conversation_id else None
        if hooks and hooks.started:
            # asyncio.wait leaves the hook running when the waiting call is cancelled.
            await asyncio.wait({hooks.started})

    def resume(self) -> None:
        """The agent starts (again)."""
        self._claims.stay()

    async def drain(self) -> None:
        """Wait until the running hooks are through, except those of the conversation that the caller serves."""
        self._claims.leave()
        # A hook that stops its own agent would otherwise wait for itself.
        binding = current_binding()
        own = binding.conversation_id if binding and binding.agent is self._agent else None
        others = [task for task, conversation_id in self._running.items() if conversation_id != own]
        if others:
            await asyncio.wait(others)

    def _hooks_of(self, conversation_id: str) -> _Hooks | None:
        if not isinstance(conversation_id, str) or not conversation_id:
            logger.warning("ignored a lifecycle message without a conversation id")
            return None
        return self._conversations.setdefault(conversation_id, _Hooks())

    def _start(self, name: HookName, conversation_id: str, hooks: _Hooks) -> asyncio.Task[None]:
        task = asyncio.create_task(self._run(name, conversation_id, hooks), name=f"{name}:{conversation_id}")
        self._running[task] = conversation_id
        task.add_done_callback(self._running.pop)
        return task

    async def _run(self, name: HookName, conversation_id: str, hooks: _Hooks) -> None:
        ending = name == "on_conversation_ended"
        if ending and hooks.started:
            await asyncio.wait({hooks.started})
        with bound(Binding(self._agent, conversation_id, starting=not ending)):
            if ending:
                mine = await self._claimed_at_last(name, conversation_id)
            else:
                mine = self._has_start_hooks() and await self._claimed_or_resumed(name, conversation_id, hooks)
            if not mine:
                return
            async with self._claims.held(name, conversation_id):
                if ending:
                    # Before the hooks: they may clean the state up, with the customer's id in it.
                    await self._told(name, conversation_id, self._agent._customers.merge(conversation_id))
                for hook in (getattr(self._agent, name), *self._registered[name]):
                    await self._call(name, hook, conversation_id)
                await self._told(name, conversation_id, self._claims.done(name, conversation_id))

    def _has_start_hooks(self) -> bool:
        """Whether there is anything to run when a conversation starts; without it nobody needs to be asked."""
        names = ("on_conversation_started", RESUMED)
        return bool(self._registered["on_conversation_started"]) or any(map(self._agent.overrides, names))

    async def _claimed_or_resumed(self, name: HookName, conversation_id: str, hooks: _Hooks) -> bool:
        """Whether the started hooks are this process's; if they ran elsewhere, the conversation is resumed here."""
        mine = await self._told(name, conversation_id, self._claims.claim(name, conversation_id))
        if mine is None:
            # The store could not tell, or the agent is stopping: the next message or tool call asks again.
            hooks.started = None
        elif not mine:
            await self._call(RESUMED, self._agent.on_conversation_resumed, conversation_id)
        return mine is True

    async def _claimed_at_last(self, name: HookName, conversation_id: str) -> bool:
        """Whether the ended hooks are this process's. No later message would ask again, so this does by itself."""
        pause = _FIRST_RETRY
        while True:
            try:
                return await self._claims.claim(name, conversation_id) is True
            except RedstateError as error:
                await self._report(name, conversation_id, error)
                passing = isinstance(error, StoreError)
            if not passing or await self._claims.pause(pause):
                return False
            pause = min(pause * 2, _LONGEST_RETRY)

    async def _told(self, name: str, conversation_id: str, work: Awaitable[T]) -> T | None:
        """What ``work`` results in; None where the store failed, which is logged and told to the error callback."""
        try:
            return await work
        except RedstateError as error:
            await self._report(name, conversation_id, error)
            return None

    async def _call(self, name: str, hook: Hook, conversation_id: str) -> None:
        try:
            # A sync hook may wait for the server, so it runs in a thread; the thread sees the binding.
            is_async = inspect.iscoroutinefunction(getattr(hook, _ROUTES_TO, hook))
            outcome = hook(conversation_id) if is_async else await asyncio.to_thread(hook, conversation_id)
            if inspect.isawaitable(outcome):
                await outcome
        except Exception as error:  # noqa: BLE001 - whatever a user's hook raises is reported
            await self._report(name, conversation_id, error)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Something inside the hook was cancelled, not the hook itself.
            await self._report(name, conversation_id, RuntimeError("the hook awaited something that was cancelled"))

    async def _report(self, name: str, conversation_id: str, error: Exception) -> None:
        logger.error("%s failed in conversation %r", name, conversation_id, exc_info=error)
        await self._agent.callback_manager.report(name, error, conversation_id)


def routed(override: Callable[..., Any], name: HookName) -> Callable[..., Any]:
    """Wrap a subclass's hook so that its name stays the SDK's registrar as well.

    Called with a conversation id it runs the hook; called with a function it registers the function.
    """

    @functools.wraps(override)
    def route(agent: StatefulAgent, event: str | Hook) -> Any:
        return agent.register_hook(name, event) if callable(event) else override(agent, event)

    setattr(route, _ROUTES_TO, override)
    return route


def is_routed(hook: Callable[..., Any]) -> bool:
    """Tell whether the hook is one that ``routed`` wrapped."""
    return hasattr(hook, _ROUTES_TO)
