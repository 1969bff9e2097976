"""The user's hooks: the methods of the agent's class, and what was registered to run after them."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from redstate.conversimple.agent import StatefulAgent

logger = logging.getLogger("redstate.conversimple")

_FAILED = "%s failed in conversation %r"

HookName = Literal["on_conversation_started", "on_conversation_ended"]
STARTED: HookName = "on_conversation_started"
ENDED: HookName = "on_conversation_ended"
RESUMED = "on_conversation_resumed"
Hook = Callable[[str], Any]

_ROUTES_TO = "_redstate_routes_to"


class Done:
    """What the base hooks return: may be awaited, and need not be."""

    def __await__(self) -> Generator[None, None, None]:
        """Finish at once."""
        yield from ()


DONE = Done()


class UserHooks:
    """The hooks of one agent. What they raise is reported, and ends nothing."""

    def __init__(self, agent: StatefulAgent) -> None:
        self._agent = agent
        self._registered: dict[HookName, list[Hook]] = {STARTED: [], ENDED: []}

    def register(self, name: HookName, callback: Hook) -> None:
        """Add ``callback`` to those that run after the agent's own hook."""
        self._registered[name].append(callback)

    def act_at_start(self) -> bool:
        """Whether there is anything to run when a conversation starts; without it nobody needs to be asked."""
        return bool(self._registered[STARTED]) or any(map(self._agent.overrides, (STARTED, RESUMED)))

    async def run(self, name: HookName, conversation_id: str) -> None:
        """Call the agent's own hook, and then those that were registered."""
        for hook in (getattr(self._agent, name), *self._registered[name]):
            await self._call(name, hook, conversation_id)

    async def resumed(self, conversation_id: str) -> None:
        """Call the hook of an agent that takes a conversation over."""
        await self._call(RESUMED, self._agent.on_conversation_resumed, conversation_id)

    async def report(self, name: str, conversation_id: str, error: Exception) -> None:
        """Say in the log and to the error callback that the hook ``name``, or what goes with it, has failed."""
        logger.error(_FAILED, name, conversation_id, exc_info=error)
        await self._agent.callback_manager.report(name, error, conversation_id)

    async def _call(self, name: str, hook: Hook, conversation_id: str) -> None:
        self._agent._stores.forget(conversation_id)
        try:
            # A sync hook may wait for the server, so it runs in a thread; the thread sees the binding.
            is_async = inspect.iscoroutinefunction(getattr(hook, _ROUTES_TO, hook))
            outcome = hook(conversation_id) if is_async else await asyncio.to_thread(hook, conversation_id)
            if inspect.isawaitable(outcome):
                await outcome
        except Exception as error:
            logger.exception(_FAILED, name, conversation_id)
            await self._agent.callback_manager.report(name, error, conversation_id)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Something inside the hook was cancelled, not the hook itself.
            await self.report(name, conversation_id, RuntimeError("the hook awaited something that was cancelled"))


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
