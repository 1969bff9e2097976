"""``StatefulAgent``: the SDK's agent, with each tool call bound to its conversation and state in a store."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from conversimple import ConversimpleAgent

from redstate import AsyncConversation, AsyncStore, Conversation, Store
from redstate._keys import check_id
from redstate.conversimple._binding import Binding, bound, current_binding
from redstate.conversimple._callbacks import Callback, ReportingCallbacks
from redstate.conversimple._claims import HookClaims
from redstate.conversimple._frames import last_messages
from redstate.conversimple._guide import GuideNames, addressed
from redstate.conversimple._lifecycle import Lifecycle
from redstate.conversimple._log import quiet_sdk_setup
from redstate.conversimple._requests import Request
from redstate.conversimple._serving import Serving
from redstate.conversimple._statistics import AgentStatistics
from redstate.conversimple._stores import Stores
from redstate.conversimple._toolcalls import ToolCalls
from redstate.conversimple._userhooks import DONE, Hook, HookName, UserHooks, is_routed, routed
from redstate.errors import ConfigurationError, RedstateError

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

logger = logging.getLogger("redstate.conversimple")


class StatefulAgent(GuideNames, ConversimpleAgent):
    """An agent that may serve many conversations at once, with their state in Redis or Valkey.

    A conversation is served by one agent at a time, its owner: the first that claims it of those that are told of it,
    in whatever process. It has a lease, which is renewed in the background. When its process dies, or stands still for
    longer, another takes the conversation over within half a second after the lease, goes on from the last acknowledged
    write, and runs the tool calls again that were under way; what they had changed is not changed twice. What the
    earlier owner still sends is refused (``Fenced``). A tool call for a conversation that another agent owns is left to
    that one; one that was carried out already, wherever, is answered as it was.

    Override ``on_conversation_started(self, conversation_id)`` and ``on_conversation_ended(self,
    conversation_id)``, sync or async, to act when a conversation starts and ends. Each runs once per
    conversation, in the process that owns it then; ``on_conversation_resumed`` runs in one that takes it over.
    Tool calls wait for the started hook of their conversation. Sync hooks run in a
    thread, so that they may wait for the store. ``stop()`` ends the worker and no conversation.

    A hook that raises is logged with its traceback and told to the error callback as ``"callback_failed"``. It counts
    as having run: it is not repeated, and tools then find the state as it left it. A tool that raises is answered with
    the exception's text; the log names the exception's class and the line that raised it, and shows the traceback at
    DEBUG (logger ``redstate.conversimple``), since an exception may quote what the caller said.

    Args:
        store: the store of sync tools; by default one per process, opened from the environment
            (``REDSTATE_URL``, then ``REDIS_URL``, then an embedded server, with a warning) when it is first needed.
        async_store: the store of async tools; by default one on the same server as the sync store.
            A store that is passed in is never closed by the agent.
        arguments, options: the SDK's own (``api_key``, ``customer_id``, ``platform_url``, ...).

    Attributes:
        lease: seconds after which an agent that gives no sign of life loses its conversations; as in all processes.
        hook_lease: seconds after which a hook that began in a process which gives no sign of life any more is run by
            another; the same in all processes. It is less than the 30 seconds that a tool call has, which waits for the
            started hook. A process that stands still for longer and then goes on is not stopped from finishing its
            hook beside the other one's: hooks should bear a second run, late and at the same time. In a started hook
            ``self.conversations[conversation_id] = {...}`` does; ``update_state`` and ``save_state`` overwrite.
    """

    hook_lease: float = 15.0
    lease: float = 3.0

    # What the SDK last set as its one conversation; a class attribute, as the SDK's constructor reads it back.
    _sdk_conversation_id: str | None = None

    def __init__(
        self, *arguments: Any, store: Store | None = None, async_store: AsyncStore | None = None, **options: Any
    ) -> None:
        with quiet_sdk_setup():
            super().__init__(*arguments, **options)
        self._stores = Stores(store, async_store)
        self._statistics = AgentStatistics()
        self._serving = Serving(self)
        self._ownership = self._serving.ownership
        claims = HookClaims(self._stores, self._name(), self.hook_lease, self._serving.token_of)
        self._user_hooks = UserHooks(self)
        self._lifecycle = Lifecycle(self, self._user_hooks, claims)
        self._tool_calls = ToolCalls(self, self._serving)
        self.callback_manager: ReportingCallbacks = ReportingCallbacks()
        self.callback_manager.on_conversation_started = self._lifecycle.begin
        self.callback_manager.on_conversation_ended = self._lifecycle.end

    def __init_subclass__(cls, **options: Any) -> None:
        """Let a subclass's hooks keep the SDK's registrars of the same names working."""
        super().__init_subclass__(**options)
        names: tuple[HookName, ...] = ("on_conversation_started", "on_conversation_ended")
        for name in names:
            hook = getattr(cls, name)
            if hook is not getattr(StatefulAgent, name) and not is_routed(hook):
                setattr(cls, name, routed(hook, name))

    # Which conversation is being served

    @property
    def current_conversation_id(self) -> str | None:
        """The conversation of the running tool call or hook; None outside them."""
        binding = current_binding()
        return binding.conversation_id if binding is not None and binding.agent is self else None

    @current_conversation_id.setter
    def current_conversation_id(self, conversation_id: str | None) -> None:
        # Agents that keep the id themselves set what it is already, or None when they are through: both are harmless.
        if conversation_id not in (None, self.current_conversation_id):
            raise AttributeError(
                "current_conversation_id follows the running tool call or hook and cannot be set to another one. "
                "Use: with agent.serving(conversation_id): ..."
            )

    @contextlib.contextmanager
    def serving(self, conversation_id: str) -> Iterator[None]:
        """Run the block as a tool call of the conversation runs: that is the current one. No hook runs.

        For unit tests that call a tool's method themselves, and for code that the platform did not call.

        Example:
            ``with agent.serving("call-1"): agent.add_to_cart("P1", 2)``

        Raises:
            InvalidId: the id cannot name a conversation.
        """
        around = current_binding()
        scope = around.scope if around is not None and around.agent is self else None
        with bound(Binding(self, check_id(conversation_id, "conversation id"), scope=scope)):
            yield

    def get_current_conversation_id(self) -> str | None:
        """Return ``current_conversation_id``."""
        return self.current_conversation_id

    @property
    def current_call_id(self) -> str | None:
        """The platform's id of the running tool call; None outside tool calls."""
        binding = current_binding()
        return binding.call_id if binding is not None and binding.agent is self else None

    @property
    def current_call_resumed(self) -> bool:
        """Whether another worker began the running tool call and died, or stood still, before it had finished it.

        What the tool has changed already is not changed again, and what it reads shows it. So a tool that refuses to do
        what was done before ("the order is paid already") should not refuse here.
        """
        binding = current_binding()
        return binding is not None and binding.agent is self and binding.resumed

    @property
    def fencing_token(self) -> int | None:
        """The token under which the current conversation is owned; None outside tool calls and hooks.

        It rises with each owner. Whoever keeps something outside of redstate in the conversation's name can refuse a
        token that is below the highest one seen: that worker stood still while another took over.
        """
        binding = current_binding()
        scope = binding.scope if binding is not None and binding.agent is self else None
        return None if scope is None else scope.token

    @property
    def conversation_id(self) -> str | None:
        """The conversation of the running tool call or hook; outside them, the one that the SDK saw last."""
        current = self.current_conversation_id
        return self._sdk_conversation_id if current is None else current

    @conversation_id.setter
    def conversation_id(self, conversation_id: str | None) -> None:
        self._sdk_conversation_id = conversation_id

    # State

    def get_store(self) -> Store:
        """Return the store of sync tools and hooks: for customers, the cache, and conversations with options.

        Raises:
            ConfigurationError: the agent was given an async store only.
        """
        return self._stores.for_threads()

    def get_async_store(self) -> AsyncStore:
        """Return the store of async tools and hooks; see ``get_store``."""
        return self._stores.for_loop()

    def conversation(self, conversation_id: str | None = None) -> Conversation:
        """Return a handle on a conversation's record, for sync tools and hooks.

        Args:
            conversation_id: the conversation; by default the current one.

        Raises:
            ConfigurationError: no id was given outside tool calls and hooks, or there is no sync store.
            InvalidId: the id cannot name a conversation.
        """
        return self.get_store().conversation(self._given_or_current(conversation_id))

    def async_conversation(self, conversation_id: str | None = None) -> AsyncConversation:
        """Return a handle on a conversation's record, for async tools and hooks; see ``conversation``."""
        return self.get_async_store().conversation(self._given_or_current(conversation_id))

    async def aget_state(self, conversation_id: str | None = None) -> dict[str, Any]:
        """Return a conversation's state as plain data, for async tools and hooks; changing it changes nothing stored.

        ``async_conversation(conversation_id).state`` is the state itself.
        """
        return dict(await self.async_conversation(conversation_id).state.all())

    async def aupdate_state(
        self, conversation_id: str | None = None, values: Mapping[str, Any] | None = None, /, **updates: Any
    ) -> None:
        """Do what ``update_state`` does, for async tools and hooks."""
        chosen, fields = addressed(conversation_id, values, updates)
        await self.async_conversation(chosen).state.update(fields)

    def known_conversations(self) -> list[str]:
        """Return the ids of the conversations that this agent has been told of and that have not ended."""
        return self._lifecycle.known()

    def _given_or_current(self, conversation_id: str | None) -> str:
        chosen = self.current_conversation_id if conversation_id is None else conversation_id
        if chosen is None:
            raise ConfigurationError(
                "no conversation is being served here, and none was named",
                next_step="Pass conversation_id=, or call this from a tool or a hook of the agent",
            )
        return chosen

    # Hooks

    # Typed loosely, as the SDK's registrar and the guide's hook of the same name share no signature.
    def on_conversation_started(self, conversation_id: Any) -> Any:
        """Override this with ``(self, conversation_id)``, sync or async, to act when a conversation starts.

        Called with a function, it registers that function to run after the override, sync ones in a thread.
        Called with an id, as by ``super()`` in an override, it does nothing; awaiting it is optional.
        """
        if callable(conversation_id):
            self.register_hook("on_conversation_started", conversation_id)
        return DONE

    def on_conversation_ended(self, conversation_id: Any) -> Any:
        """Override this with ``(self, conversation_id)``, sync or async, to act when a conversation ends.

        It does not run when only the worker stops. Otherwise as ``on_conversation_started``.
        """
        if callable(conversation_id):
            self.register_hook("on_conversation_ended", conversation_id)
        return DONE

    def on_conversation_resumed(self, conversation_id: str) -> Any:
        """Override this, sync or async, to act when this process takes over a conversation that started elsewhere.

        It runs when the started hook is through, and before the first tool.
        """
        return DONE

    def overrides(self, name: str) -> bool:
        """Tell whether a subclass has its own version of the hook ``name``."""
        return getattr(type(self), name) is not getattr(StatefulAgent, name)

    def _name(self) -> str:
        """What the agents of this kind are called in all processes."""
        return getattr(self, "agent_id", None) or type(self).__qualname__

    def register_hook(self, name: HookName, callback: Hook) -> None:
        """Add ``callback(conversation_id)`` to what runs at ``name``; the SDK's registrars come here."""
        self._user_hooks.register(name, callback)

    def on_error(self, callback: Callback) -> None:
        """Register ``callback(error_type, error_message, details)``, sync or async."""

        # The SDK awaits this callback when a connection fails for good, and a sync one would break there.
        async def awaitable(error_type: str, error_message: str, details: dict[str, Any]) -> None:
            outcome = callback(error_type, error_message, details)
            if inspect.isawaitable(outcome):
                await outcome

        self.callback_manager.on_error = awaitable

    # What the SDK calls

    async def start(self, conversation_id: str | None = None) -> None:
        """Connect to the platform and register the tools.

        Args:
            conversation_id: a conversation that is under way already, as the SDK's dispatcher passes it; its
                started hook has run when this returns, unless the store failed: then it runs before the first tool.

        Raises:
            RuntimeError: the platform did not accept the connection.
        """
        self._lifecycle.resume()
        self._tool_calls.resume()
        # The SDK's dispatcher makes an agent for each conversation.
        self._serving.only_conversation = conversation_id
        self._ownership.open(takes_over=conversation_id is None)
        await super().start(conversation_id)
        if conversation_id:
            await self._lifecycle.begun(conversation_id)
        else:
            # What owners that are gone have left is taken over from now on, also while nobody calls.
            self._serving.background.start(self._ownership.join())

    async def stop(self) -> None:
        """Disconnect, and leave the conversations to other workers. No conversation ends.

        Running hooks finish. Running tool calls are cancelled, and run again by the next owners; see ``drain``.
        """
        websocket = self.connection.websocket
        self._ownership.close()
        self._tool_calls.close()
        await super().stop()
        if websocket is not None:
            await self._take_endings(websocket)
        await self._tool_calls.end()
        await self._lifecycle.drain()
        await self._serving.background.end()
        await self._ownership.leave()

    async def drain(self, timeout: float = 30.0) -> None:
        """Stop as a worker does that others replace: finish the calls in flight, hand over the conversations, and stop.

        Args:
            timeout: seconds that the calls in flight have; those that take longer are cancelled, and their next owners
                run them again.
        """
        self._ownership.close()
        self._tool_calls.close()
        clock = asyncio.get_running_loop().time
        until = clock() + timeout
        try:
            while (busy := self._busy()) and clock() < until:
                try:
                    await self._ownership.hand_over(lambda: set(self._busy().values()))
                except RedstateError as error:
                    logger.warning("what is idle could not be handed over yet: %s", error)
                # What is left is claimed anew each time, so not after every call.
                await asyncio.wait(busy, timeout=min(1.0, until - clock()))
        finally:
            await self.stop()

    def _busy(self) -> dict[asyncio.Task[Any], str]:
        """The calls and hooks that run, by their conversations."""
        return {**self._tool_calls.running(), **self._lifecycle.running()}

    def statistics(self) -> AgentStatistics:
        """Return what the agent has done so far, in numbers."""
        running = self._tool_calls.count_running()
        return replace(self._statistics, conversations=len(self._ownership.all()), calls_running=running)

    async def _take_endings(self, websocket: ClientConnection) -> None:
        # The SDK's dispatcher stops an agent as soon as its conversation ended. Closing waits for the other side, so
        # the agent's own copy of that message is here by now; without it the ended hook would never run.
        async for event, payload in last_messages(websocket):
            if event == "tool_call_request":
                # It is left to the next owner.
                self._tool_calls.accept(Request.of(payload, self._sdk_conversation_id))
            elif payload.get("event") == "conversation_ended":
                await self._handle_conversation_lifecycle(payload)

    async def _handle_platform_message(self, event: str, payload: dict[str, Any]) -> None:
        if not isinstance(payload, dict):
            logger.warning("ignored %r: its payload is a %s", event, type(payload).__name__)
            return
        # A connection that was re-opened during a tool call hands over its messages in that call's context.
        with bound(None):
            if event == "tool_call_request":
                self._tool_calls.accept(Request.of(payload, self._sdk_conversation_id))
            elif event == "conversation_ready" or payload.get("event") == "conversation_started":
                self._serving.told(event, payload)
            else:
                await super()._handle_platform_message(event, payload)

    async def _handle_tool_call_request(self, payload: dict[str, Any]) -> None:
        await self._tool_calls.serve(Request.of(payload, self._sdk_conversation_id))

    async def _register_conversation_tools(self, conversation_id: str, tools: list[Any]) -> None:
        if await self._serving.registers(conversation_id):
            await super()._register_conversation_tools(conversation_id, tools)

    async def _notify_conversation_ended(self, conversation_id: str, payload: dict[str, Any] | None = None) -> None:
        # The SDK passes the platform's payload when a conversation ended, and none when only the worker stops.
        if payload is not None:
            self.registered_conversations.discard(conversation_id)
            await self.callback_manager.trigger_conversation_ended(conversation_id, payload)
