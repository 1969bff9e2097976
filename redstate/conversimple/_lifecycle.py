"""Runs the user's hooks when a conversation starts and when it ends.

Hooks run in tasks of their own, so that a slow one holds up neither the websocket nor other
conversations. For each conversation: the started hooks come first, tool calls wait for them, the ended
hooks come last.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from redstate.conversimple._binding import Binding, bound, current_binding

if TYPE_CHECKING:
    from redstate.conversimple.agent import StatefulAgent

logger = logging.getLogger("redstate.conversimple")

HookName = Literal["on_conversation_started", "on_conversation_ended"]
Hook = Callable[[str], Any]

# How many ended conversations are remembered, so that a repeated message does not fire their hooks again.
ENDED_REMEMBERED = 10_000

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

    def __init__(self, agent: StatefulAgent) -> None:
        self._agent = agent
        self._registered: dict[HookName, list[Hook]] = {"on_conversation_started": [], "on_conversation_ended": []}
        self._conversations: dict[str, _Hooks] = {}
        self._ended: deque[str] = deque()
        self._running: dict[asyncio.Task[None], str] = {}

    def register(self, name: HookName, callback: Hook) -> None:
        """Add ``callback`` to those that run after the agent's own hook."""
        self._registered[name].append(callback)

    async def begin(self, conversation_id: str) -> None:
        """Start the started hooks, unless they ran before or the conversation has ended."""
        hooks = self._hooks_of(conversation_id)
        if hooks and hooks.started is None and hooks.ended is None:
            hooks.started = self._start("on_conversation_started", conversation_id, after=None)

    async def end(self, conversation_id: str) -> None:
        """Start the ended hooks, unless they ran before; they wait for the started ones."""
        hooks = self._hooks_of(conversation_id)
        if hooks and hooks.ended is None:
            hooks.ended = self._start("on_conversation_ended", conversation_id, after=hooks.started)
            self._ended.append(conversation_id)
            if len(self._ended) > ENDED_REMEMBERED:
                del self._conversations[self._ended.popleft()]

    async def wait_started(self, conversation_id: str | None) -> None:
        """Wait until the started hooks of the conversation, if they are running, are through."""
        hooks = self._conversations.get(conversation_id) if conversation_id else None
        if hooks and hooks.started:
            # asyncio.wait leaves the hook running when the waiting call is cancelled.
            await asyncio.wait({hooks.started})

    async def drain(self) -> None:
        """Wait until the running hooks are through, except those of the conversation that the caller serves."""
        # A hook that stops its own agent would otherwise wait for itself.
        binding = current_binding()
        own = binding.conversation_id if binding and binding.agent is self._agent else None
        others = [task for task, conversation_id in self._running.items() if conversation_id != own]
        if others:
            await asyncio.wait(others)

    def _hooks_of(self, conversation_id: str) -> _Hooks | None:
        # Once per conversation in this agent. Once across all processes would be decided here too, by a claim
        # in the store.
        if not isinstance(conversation_id, str) or not conversation_id:
            logger.warning("ignored a lifecycle message without a conversation id")
            return None
        return self._conversations.setdefault(conversation_id, _Hooks())

    def _start(self, name: HookName, conversation_id: str, after: asyncio.Task[None] | None) -> asyncio.Task[None]:
        task = asyncio.create_task(self._run(name, conversation_id, after), name=f"{name}:{conversation_id}")
        self._running[task] = conversation_id
        task.add_done_callback(self._running.pop)
        return task

    async def _run(self, name: HookName, conversation_id: str, after: asyncio.Task[None] | None) -> None:
        if after:
            await asyncio.wait({after})
        with bound(Binding(self._agent, conversation_id)):
            for hook in (getattr(self._agent, name), *self._registered[name]):
                await self._call(name, hook, conversation_id)

    async def _call(self, name: HookName, hook: Hook, conversation_id: str) -> None:
        try:
            # A sync hook may wait for the server, so it runs in a thread; the thread sees the binding.
            is_async = inspect.iscoroutinefunction(getattr(hook, _ROUTES_TO, hook))
            outcome = hook(conversation_id) if is_async else await asyncio.to_thread(hook, conversation_id)
            if inspect.isawaitable(outcome):
                await outcome
        except Exception as error:
            logger.exception("%s failed in conversation %r", name, conversation_id)
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
