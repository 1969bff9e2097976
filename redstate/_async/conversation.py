"""One conversation, as a process holds it."""

from __future__ import annotations

from redstate._async.cart import AsyncCart
from redstate._async.customer import AsyncCustomer
from redstate._async.ending import AsyncEnding
from redstate._async.kept import AsyncKeptRecord
from redstate._async.record import AsyncRecord
from redstate._async.sealed import reencrypt
from redstate._async.session import AsyncSession
from redstate._async.state import AsyncState
from redstate._async.transaction import AsyncTransaction
from redstate._async.workflow import AsyncWorkflowRun
from redstate._scope import refuse_late
from redstate.calls import lifetime, sizes
from redstate.calls import record as record_calls
from redstate.calls.cart_limits import CartLimits
from redstate.calls.sizes import SizeReport
from redstate.errors import ConversationAbsent, ConversationEnded, OperationMismatch, StaleOperation
from redstate.workflow.definition import Workflow


class AsyncConversation:
    """A handle of a conversation; cheap, and free of I/O until it is used. Obtained as ``store.conversation(id)``.

    Attributes:
        id: as given.
        key: the Redis key of its record.
        state: its fields.
        cart: its cart.
        session: who is logged in.
        customer: whose it is, as the handle was told; None where it was not. It is no part of the conversation's
            record, and nothing is linked by it: see ``customer.link``.
    """

    __slots__ = ("_cart", "_cart_limits", "_customer", "_ending", "_id", "_record", "_session", "_state")

    def __init__(
        self,
        conversation_id: str,
        record: AsyncRecord,
        cart_limits: CartLimits,
        customer: AsyncCustomer | None,
        ending: AsyncEnding,
    ) -> None:
        self._id = conversation_id
        self._record = record
        self._ending = ending
        self._state = AsyncState(record)
        self._cart = AsyncCart(record, cart_limits)
        self._cart_limits = cart_limits
        self._session = AsyncSession(record)
        self._customer = customer

    @property
    def id(self) -> str:
        return self._id

    @property
    def key(self) -> str:
        return self._record.key

    @property
    def state(self) -> AsyncState:
        return self._state

    @state.setter
    def state(self, value: AsyncState) -> None:
        # Python assigns what |= has returned, which is the state itself.
        if value is not self._state:
            raise AttributeError(
                "state cannot be assigned: use state.update(...), or store.save_state(...) for all of it"
            )

    @property
    def cart(self) -> AsyncCart:
        return self._cart

    @property
    def session(self) -> AsyncSession:
        return self._session

    @property
    def customer(self) -> AsyncCustomer | None:
        return self._customer

    @property
    def if_logged_in(self) -> AsyncConversation:
        """The same conversation for a user who is logged in: no change without a live session.

        Each change through this handle is refused with ``NotAuthenticated``, and nothing is written, unless a session
        is live at the very moment of the change, judged in its script by the server's clock. A change that is accepted
        slides the session's idle time. Reads are not guarded, and neither are ``session``
        itself and ``customer``, which is a record of its own: no script judges both. A transaction that was
        begun or used through this handle is guarded as a whole.

        Example:
            ``conv.if_logged_in.cart.add("sku-1", 2, "19.99")``
        """
        record = self._record.if_logged_in()
        guarded = AsyncConversation(self._id, record, self._cart_limits, self._customer, self._ending)
        guarded._session = self._session
        return guarded

    @property
    def customer_id(self) -> str | None:
        """The id that the handle was given as ``customer_id``."""
        return None if self.customer is None else self.customer.id

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id!r}>"

    def transaction(self) -> AsyncTransaction:
        """Group changes of the state into one script, all or nothing; see :class:`AsyncTransaction`.

        Raises (at the end of the block):
            ConflictError: another writer changed what the block has read; nothing was written.
        """
        return AsyncTransaction(self._record)

    def workflow(self, definition: Workflow) -> AsyncWorkflowRun:
        """The conversation's run of a workflow; one that nothing has moved stands at its initial step. No I/O."""
        return AsyncWorkflowRun(definition, self._record)

    # How it begins, ends and goes on

    async def start(self) -> bool:
        """Begin it, before its first change would. Returns whether there was none yet.

        Needed by nobody: a change begins it. With an archive this notes whose it is, and finds out early whether a
        conversation of that id has ended; without one it does nothing.

        Raises:
            ConversationEnded: it has ended, or lies in the archive.
        """
        return await self._ending.start()

    async def end(self, reason: str = "ended") -> bool:
        """End it: nothing changes it any more until it is resumed. It can be called again, anywhere, without harm.

        If it has a customer (the handle's ``customer_id``, or the state's field of that name), it is merged into the
        profile, once: ``last_conversation``, ``last_interaction``, and what the store's ``merge`` makes of it. One that
        was resumed is merged once more when it ends again. With an archive it then leaves for that, within a second if
        a sweeper runs; without one it stays for its ``ttl``.

        Args:
            reason: why, one word of at most 64 letters, digits, dashes and underscores.

        Returns:
            Whether it was this call that ended it; False where it had ended, or does not exist.

        Raises:
            InvalidInput: the reason cannot be used.
            RedstateError: what ``merge`` made cannot be stored, or the store could not do it. The conversation may have
                ended by then; calling ``end`` again does what is left, and with an archive a sweeper does.
        """
        return await self._ending.end(reason)

    async def resume(self) -> bool:
        """Go on with a conversation that has ended, wherever it lies by now. Returns whether there is one.

        State, cart, orders and workflows are as they were; who was logged in has to log in again, and operation ids and
        tool calls of its first life are not remembered. Whoever owned it owns it no more. Where it has not ended
        nothing happens, and where nothing is known of it, or it was erased, this returns False.

        Raises:
            ArchiveError: the archive's database could not be asked.
            CorruptState: the archive holds what redstate did not write.
        """
        return await self._ending.resume()

    async def ended(self) -> bool:
        """Whether it has ended; also where it has left for the archive lately."""
        return await self._record.ask(lifetime.ended(self.key))

    async def version(self) -> int:
        """The version of its last change, which only rises; 0 where it does not exist."""
        return await self._record.read(record_calls.version(self.key), fresh=True)

    async def sizes(self, top: int | None = 10) -> SizeReport:
        """What takes the most room in it: its largest fields and its total, against the cap.

        Args:
            top: how many fields to name; None for all.
        """
        return await self._record.ask(sizes.report(self._record.codec.limits, self.key, top))

    async def exists(self) -> bool:
        """Whether there is anything of it in the store."""
        return await self.version() != 0

    async def ttl(self) -> float | None:
        """Seconds until it expires; None where it does not exist, or stays until it is archived."""
        return await self._record.ask(record_calls.remaining(self.key))

    async def touch(self, ttl: float | None = None) -> bool:
        """Slide its expiry without a change; with an archive, count as in use. Returns whether it exists.

        Args:
            ttl: seconds from now; the handle's own expiry by default. With an archive it has none.

        Raises:
            InvalidTTL: no usable number of seconds.
        """
        record = self._record
        asked = record.ttl_ms if ttl is None else record_calls.milliseconds(ttl)
        ttl_ms = asked if record.ttl_ms else record_calls.KEPT
        refuse_late(record.key)
        existed = await record.ask(record_calls.touch(self.key, ttl_ms))
        record.copies.forget(self.key)  # perhaps it now expires sooner than a copy knows
        return existed

    async def applied(self, op_id: str) -> bool:
        """Whether the change of an operation id took effect. If it did not, it never will.

        For an ``OutcomeUnknown`` of a change that takes no ``op_id`` to be repeated by (brackets, nested changes, a
        transaction): where this returns False, make the change again.

        Args:
            op_id: the error's.

        Raises:
            StaleOperation: the operation left the window of remembered ones, or the conversation left for the archive.
        """
        record = self._record
        # It begins nothing: what is not here any more remembers nothing.
        apply = record.apply_to_begun if isinstance(record, AsyncKeptRecord) else record.apply
        try:
            return await apply(record_calls.settle(self.key), op_id)
        except OperationMismatch:
            return True
        except ConversationEnded:
            # The journal was asked before that.
            return False
        except ConversationAbsent:
            raise StaleOperation(f"Nothing of {self.key} is remembered any more", op_id=op_id, key=self.key) from None

    async def reencrypt(self) -> int:
        """Write every value of it that is not as the store encrypts now under the current key; one change, or none.

        For values under an older key before that is taken away, and for those from before the store encrypted. Like
        any change it gives the conversation a new version, and its full ``ttl``. One that lies in the archive is not
        reached: resume it, encrypt it anew, and end it.

        Returns:
            how many values were written.

        Raises:
            UnknownEncryptionKey: a value is under a key that the store lacks; nothing was written.
            ConfigurationError: the store has no ``encryption``, or the running code is in a transaction.
        """
        return await reencrypt(self._record)

    async def delete(self, *, op_id: str | None = None, expected_version: int | None = None) -> bool:
        """Delete it with all its state. Returns whether it existed.

        Its version and journals stay for ten minutes, so that a late repeat of an earlier change is still recognised
        and does not bring it back. One that has ended is erased. With an archive nothing of that id stays there either,
        as soon as a sweeper has run, nor does ``resume`` bring anything back. One that has ended is refused changes for
        a while from then on: about two minutes with a sweeper, ten without an archive. (It has no journal any more: a
        repeat of its deletion returns False.)

        Raises:
            Fenced: it has a newer owner.
            ConversationEnded: it has ended, and a version was expected, or a session.
        """
        return await self._ending.delete(self._record, op_id, expected_version)
