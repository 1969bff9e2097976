"""``agent.conversations``: the state of every conversation by its id."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from redstate import State, _keys
from redstate._sync.contention import Contention
from redstate._sync.kept import KeptRecord
from redstate._sync.replacing import replace_state
from redstate.calls import lifetime
from redstate.calls.commit import Commit
from redstate.calls.state import checked_mapping
from redstate.conversimple._binding import current_binding
from redstate.errors import ConflictError, ConversationAbsent, ConversationEnded, InvalidId

if TYPE_CHECKING:
    from redstate import Conversation
    from redstate.conversimple._guide import GuideNames

_MISSING: Any = object()


class Conversations(MutableMapping[str, Any]):
    """The conversations of an agent, as the dict of dicts that they look like.

    A lookup by id reaches every conversation of the store. Iteration and ``len`` go over those that this agent has
    been told of and that still exist: a store keeps no list of all.
    """

    def __init__(self, agent: GuideNames) -> None:
        self._agent = agent

    def __getitem__(self, conversation_id: str) -> Any:
        """The live state of a conversation.

        Raises:
            KeyError: there is no such conversation.
        """
        return self._existing(conversation_id).state

    def __setitem__(self, conversation_id: str, state: Mapping[str, Any]) -> None:
        """Make ``state`` the whole state of the conversation, in one change.

        In the started hook it gives the fields that are not there yet: starting again never resets what is there.

        Raises:
            InvalidId: the id cannot name a conversation.
        """
        conversation = self._handle(conversation_id)
        binding = current_binding()
        if isinstance(state, State) and state._record.scope == conversation._record.scope:
            return  # ``conversations[id] |= {...}``: it stands there already, and others may have changed it since
        if binding is not None and binding.starting and binding.conversation_id == conversation_id:
            _fill_in(conversation, state)
        else:
            replace_state(conversation._record, state)

    def __delitem__(self, conversation_id: str) -> None:
        self.pop(conversation_id)

    def pop(self, conversation_id: str, default: Any = _MISSING) -> Any:
        """Delete a conversation; with an archive, end it. Returns what its state was, as plain data.

        Raises:
            KeyError: there is no such conversation, and no default.
        """
        try:
            return _taken_out(self._existing(conversation_id))
        except KeyError:
            if default is _MISSING:
                raise
            return default

    def setdefault(self, conversation_id: str, default: Mapping[str, Any] | None = None) -> Any:
        """The live state of a conversation; without it, its state becomes ``default`` first."""
        conversation = self._handle(conversation_id)
        if not conversation.exists():
            _fill_in(conversation, default or {})
        return conversation.state

    def __contains__(self, conversation_id: object) -> bool:
        try:
            self._existing(conversation_id)
        except KeyError:
            return False
        return True

    def __iter__(self) -> Iterator[str]:
        return iter([known for known in self._agent.known_conversations() if known in self])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {type(self._agent).__name__}>"

    def _handle(self, conversation_id: Any) -> Conversation:
        # Not by agent.conversation(), to which None is the current one: a dict takes it for no key of its own.
        return self._agent._stores.for_threads().conversation(conversation_id)

    def _existing(self, conversation_id: Any) -> Conversation:
        try:
            conversation = self._handle(conversation_id)
        except InvalidId:
            raise KeyError(conversation_id) from None
        if not conversation.exists():
            raise KeyError(conversation_id)
        return conversation


def _taken_out(conversation: Conversation) -> dict[str, Any]:
    take_out = _end if isinstance(conversation._record, KeptRecord) else _delete
    contention = Contention(conversation.key, conversation._record.timeout)
    while contention.another():
        version = conversation.version()
        if not version:
            raise KeyError(conversation.id)
        state = conversation.state.all(min_version=version)
        # Where it was changed in between: what is returned must be what it was at last.
        with contextlib.suppress(ConflictError):
            take_out(conversation, version)
            return state
    raise AssertionError("another() ends by raising")


def _delete(conversation: Conversation, version: int) -> None:
    conversation.delete(expected_version=version)


def _end(conversation: Conversation, version: int) -> None:
    """End a conversation at that version.

    Raises:
        ConflictError: it has another one by now.
        KeyError: it has ended, or left the store.
    """
    record = conversation._record
    assert isinstance(record, KeptRecord)
    try:
        record.life.adopt(conversation.id, record.key, "")
        record.apply_to_begun(lifetime.end(record.key, "ended"), expected_version=version)
    except (ConversationAbsent, ConversationEnded):
        raise KeyError(conversation.id) from None
    # What follows an end: the merge, and the word to an archiver.
    conversation.end()


def _fill_in(conversation: Conversation, state: Mapping[str, Any]) -> None:
    """Set the fields that are not there yet, in one change; an empty state begins to exist."""
    record, commit = conversation._record, Commit()
    for name, value in checked_mapping(state).items():
        commit.set_new(_keys.state_field(name), record.codec.encode(value, name))
    record.apply(commit.call(record.codec.limits, record.key))
