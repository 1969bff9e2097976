"""Several changes of one conversation's state in one script, all or nothing."""

from __future__ import annotations

from contextvars import Token
from types import TracebackType

from redstate import _keys, _transactions
from redstate._async.contention import AsyncContention
from redstate._async.record import AsyncRecord
from redstate.calls.pending import Pending, Savepoint
from redstate.calls.state import fetch
from redstate.errors import ConfigurationError, ConflictError


class AsyncTransaction:
    """Obtained as ``conversation.transaction()``, and used in a ``with`` block.

    Inside the block, changes of the conversation's state are collected, and reads see them. At its end they are sent as
    one script. If the block raises, nothing is sent. A block inside a block of the same task or thread joins it: its
    changes are sent with those of the block around it, or dropped if it raises. What is no change of the state (the
    cart, a workflow, ``delete``) cannot be inside.

    A value that the block has read must still be there when it ends, else nothing is written and ``ConflictError`` is
    raised: repeat the block. Changes that do not depend on what was read (a field set, an item appended) are applied to
    the newest values instead. Tasks that are started in the block take part in it until it ends.
    """

    __slots__ = ("_entered", "_joined", "_record")

    def __init__(self, record: AsyncRecord) -> None:
        self._record = record
        self._entered: tuple[Pending, Token[_transactions.Active]] | None = None
        self._joined: tuple[Pending, Savepoint] | None = None

    async def __aenter__(self) -> AsyncTransaction:
        scope = self._record.scope
        if self._entered is not None or self._joined is not None:
            raise ConfigurationError(
                "this transaction is under way already", next_step="Call conversation.transaction() for each block"
            )
        around = _transactions.pending_of(scope)
        if around is not None and around.owner == _transactions.whose():
            self._joined = around, around.savepoint()
        else:
            # A task that was started inside a block is a writer of its own when it opens one.
            pending = Pending(self._record.key)
            pending.owner = _transactions.whose()
            self._entered = pending, _transactions.enter(scope, pending)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._joined is not None:
            (around, savepoint), self._joined = self._joined, None
            if kind is not None:
                around.restore(savepoint)
            return
        assert self._entered is not None
        (pending, token), self._entered = self._entered, None
        pending.end()
        _transactions.leave(token)
        done = False
        try:
            if kind is None:
                await self._commit(pending)
                done = True
        finally:
            if not done:
                pending.dropped()

    async def _commit(self, pending: Pending) -> None:
        record = self._record
        if pending.logged_in:
            record = record.if_logged_in()
        if pending.schema:
            record = record.written_by(pending.schema)
        contention = AsyncContention(record.key, record.timeout)
        while await contention.another():
            call = pending.commit(record.codec.limits)
            if call is None:
                await record.nothing_to_do()
                return
            try:
                await record.apply(call)
                return
            except ConflictError as conflict:
                if conflict.field is None or conflict.field[:1] != _keys.STATE:
                    raise
                name = conflict.field[1:]
            pending.rebase(name, await record.read(fetch(record.key, name), fresh=True))
