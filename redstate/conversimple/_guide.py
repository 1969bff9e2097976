"""The names that agents of the state-management guide use: state, saving and loading, caching, customers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from types import FunctionType
from typing import TYPE_CHECKING, Any, cast

from redstate.calls.state import checked_mapping
from redstate.conversimple._conversations import Conversations

if TYPE_CHECKING:
    from redstate import Conversation
    from redstate.conversimple._stores import Stores

_SAVED_FOR = 86_400.0


class GuideNames:
    """What ``StatefulAgent`` offers to sync tools and hooks. Async ones use the handles of ``async_conversation()``.

    Attributes:
        cache_ttl: how long ``set_cached`` keeps a value, a timedelta or seconds.
    """

    cache_ttl: timedelta | float = timedelta(minutes=5)

    if TYPE_CHECKING:  # what the agent has
        _stores: Stores

        @property
        def current_conversation_id(self) -> str | None: ...

        def conversation(self, conversation_id: str | None = None) -> Conversation: ...

        def known_conversations(self) -> list[str]: ...

    @property
    def conversations(self) -> Conversations:
        """The live state of each conversation by its id; see :class:`Conversations`."""
        return Conversations(self)

    @conversations.setter
    def conversations(self, states: Mapping[str, Mapping[str, Any]]) -> None:
        # The guide's ``self.conversations = {}`` in a constructor: what is stored stays.
        for conversation_id, state in states.items():
            self.conversations[conversation_id] = state

    def get_state(self, conversation_id: str | None = None) -> dict[str, Any]:
        """Return the live state of a conversation: a dict whose changes, nested ones too, are changes in the store.

        Args:
            conversation_id: the conversation; by default the current one.
        """
        # It is a dict, and to type checkers a richer one.
        return cast("dict[str, Any]", self.conversation(conversation_id).state)

    def update_state(
        self, conversation_id: str | None = None, values: Mapping[str, Any] | None = None, /, **updates: Any
    ) -> None:
        """Set fields of a conversation's state, all in one atomic change.

        Args:
            conversation_id: the conversation; by default the current one. As in the guide, it can be a keyword too.
            values: field names and their new values.
            updates: further ones, which win.
        """
        chosen, fields = addressed(conversation_id, values, updates)
        self.conversation(chosen).state.update(fields)

    def persist_conversation(self, conversation_id: str, state: Mapping[str, Any]) -> None:
        """Keep the state of a conversation that is over: by ``save_state``, unless you override it."""
        self.save_state(conversation_id, state)

    def save_state(self, conversation_id: str, state: Mapping[str, Any]) -> None:
        """Make ``state`` the whole state of the conversation, for a day from now, in one change."""
        self._stores.for_threads().save_state(conversation_id, state, ttl=_SAVED_FOR)

    def load_state(self, conversation_id: str) -> dict[str, Any]:
        """Return the state of a conversation as plain data; ``{}`` if there is none."""
        return self._stores.for_threads().load_state(conversation_id)

    def save_important_data(self, state: Mapping[str, Any]) -> None:
        """Keep what outlives the conversation: it is merged into its customer's profile, unless you override this.

        Args:
            state: the conversation's, with the ``customer_id`` in it.
        """
        customer_id, conversation_id = state.get("customer_id"), self.current_conversation_id
        if customer_id and conversation_id:
            self._stores.for_threads().customer(customer_id).merge_conversation(conversation_id)

    def get_cached(self, key: str, default: Any = None) -> Any:
        """Return a value that any process has cached under ``key``, or ``default``."""
        return self._stores.for_threads().cache.get(key, default)

    def set_cached(self, key: str, value: Any) -> None:
        """Cache a value for all processes, for ``cache_ttl``."""
        ttl = self.cache_ttl
        seconds = ttl.total_seconds() if isinstance(ttl, timedelta) else float(ttl)
        self._stores.for_threads().cache.set(key, value, ttl=seconds)

    def get_customer_context(self, customer_id: str) -> dict[str, Any]:
        """Return what is known of a customer, and note it in the current conversation's state.

        The conversation's state gets ``customer_id`` and ``customer_data``; the customer gets the conversation among
        theirs. When it ends, it is merged into the customer's profile, exactly once.
        """
        customer = self._stores.for_threads().customer(customer_id)
        context = customer.context()
        conversation_id = self.current_conversation_id
        if conversation_id is not None:
            customer.link(conversation_id)
            self.conversation(conversation_id).state.update(customer_id=customer_id, customer_data=context)
        return context


def addressed(
    conversation_id: str | None, values: Mapping[str, Any] | None, updates: dict[str, Any]
) -> tuple[str | None, dict[str, Any]]:
    """Which conversation an update is for, and its fields.

    Raises:
        InvalidField: the values are no mapping.
    """
    if conversation_id is None:
        # The guide's parameter is no positional-only one.
        conversation_id = updates.pop("conversation_id", None)
    return conversation_id, {**checked_mapping({} if values is None else values), **updates}


# What Python says of wrong arguments is to name the class that users know.
for _function in [one for one in vars(GuideNames).values() if isinstance(one, FunctionType)]:
    _function.__qualname__ = f"StatefulAgent.{_function.__name__}"
