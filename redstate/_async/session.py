"""The session of a conversation: who is logged in, judged by the server's clock at each look."""

from __future__ import annotations

import secrets
from typing import Any

from redstate import _keys
from redstate._async.record import AsyncRecord
from redstate._replies import not_authenticated
from redstate._scope import refuse_late
from redstate.calls import session as session_calls
from redstate.calls.session import SessionUser


class AsyncSession:
    """Who is logged in, in this conversation. Obtained as ``conversation.session``.

    A session ends at its expiry, after its idle time, by ``logout`` or with the conversation, also in the middle of a
    call; state and cart live on. It lives in the conversation's record, so it also ends when that expires.

    Example:
        A tool that logs in (awaited in the asyncio colour)::

            left = conv.session.attempt(username)           # counted before anyone looks at the password
            user = directory.check(username, password)      # yours; the password goes nowhere else
            if user is None:
                return {"error": f"Wrong name or password, {left} attempts left"}
            conv.session.login(user.id, username=username, idle=300)

        and a change that only a user who is logged in may make::

            conv.if_logged_in.cart.add("sku-1", 2, "19.99")
    """

    __slots__ = ("_record",)

    def __init__(self, record: AsyncRecord) -> None:
        self._record = record

    async def login(
        self,
        user_id: str,
        *,
        username: str | None = None,
        ttl: float = 900.0,
        idle: float | None = None,
        op_id: str | None = None,
        expected_version: int | None = None,
        **data: Any,
    ) -> SessionUser:
        """Begin a session, in place of the one that there may be; returns it.

        It forgets the attempts of this conversation, of ``user_id`` and of ``username``: pass the name that
        ``attempt`` was given as one of the two.

        Args:
            user_id: any text of 1 to 512 UTF-8 bytes.
            username: what to call the user, likewise.
            ttl: seconds after which the session ends, whatever happens.
            idle: seconds of silence after which it ends; None for as many as one likes. ``touch`` and accepted changes
                through ``conversation.if_logged_in`` break the silence; other changes do not.
            op_id, expected_version: as in the state.
            data: what else to remember of the user. Whoever can read the server can read it, so a name of a secret
                (password, token, pin, api_key and the like), also inside dicts and lists, is refused.

        Raises:
            InvalidInput: a name of a secret, or an argument that cannot be used; nothing was sent.
        """
        record = self._record
        call = session_calls.login(record.codec, record.key, user_id, username, ttl, idle, data)
        # First: the attempt has succeeded whatever becomes of the rest, and what login raises is then the login's own.
        keys = {_keys.user_attempts_key(record.key, name) for name in (user_id, username or user_id)}
        for key in {_keys.attempts_key(record.key), *keys}:
            await record.ask(session_calls.forget_attempts(key))
        return await record.apply(call, op_id, expected_version)

    async def logout(self, *, op_id: str | None = None, expected_version: int | None = None) -> bool:
        """End the session and forget its user. Returns whether it was live."""
        return await self._record.apply(session_calls.logout(self._record.key), op_id, expected_version)

    async def authenticated(self, *, fresh: bool = True) -> bool:
        """Whether somebody is logged in at this moment.

        Args:
            fresh: as for ``user``.
        """
        return await self.user(fresh=fresh) is not None

    async def user(self, *, fresh: bool = True) -> SessionUser | None:
        """Who is logged in at this moment; None where nobody is.

        Args:
            fresh: the server is asked. With False local memory may answer that somebody is, within the store's
                ``max_staleness``; that nobody is, and why, the server says in any case.

        Raises:
            CorruptState: the session holds bytes that redstate did not write.
        """
        found = await self._read(fresh)
        return None if isinstance(found, str) else found

    async def require(self, *, fresh: bool = True) -> SessionUser:
        """Who is logged in at this moment.

        It guards nothing that comes after it: use ``conversation.if_logged_in`` for changes.

        Args:
            fresh: as for ``user``.

        Raises:
            NotAuthenticated: nobody is; ``reason`` is "logged out", "idle" or "expired".
        """
        found = await self._read(fresh)
        if isinstance(found, str):
            raise not_authenticated(self._record.key, found)
        return found

    async def touch(self) -> bool:
        """Begin the idle time anew, and slide the conversation's expiry. Returns whether the session is live."""
        record = self._record
        refuse_late(record.key)
        live = await record.ask(session_calls.touch(record.key, record.ttl_ms))
        record.copies.forget(record.key)
        return live

    async def attempt(self, name: str, *, limit: int = 5, window: float = 300.0, lockout: float | None = None) -> int:
        """Count an attempt to log in before it is made, and refuse it where there were too many.

        Call it before looking at the password. After ``limit`` attempts within ``window`` and without a login, further
        ones are refused until ``lockout`` has passed since the last that was not; refused ones do not prolong that. The
        conversation and the user are counted each for itself, across all processes. The conversation comes first, so
        one that is locked out cannot lock out users; what is refused for the user's sake has counted for the
        conversation.

        Args:
            name: the user name or id, as the caller gave it; capitals, width and outer spaces make no difference. It is
                stored as a digest only.
            limit: how many, from 1 to 100.
            window: seconds for which an attempt counts.
            lockout: seconds; the window by default.

        Returns:
            How many attempts are left.

        Raises:
            TooManyAttempts: ``retry_after`` has the seconds until the next, ``scope`` whose they were: "conversation"
                or "user".
        """
        record = self._record
        token = secrets.token_urlsafe(6)
        user_key = _keys.user_attempts_key(record.key, name)
        own_key = _keys.attempts_key(record.key)
        refuse_late(record.key)
        left = await record.ask(session_calls.attempt(own_key, "conversation", token, limit, window, lockout))
        return min(left, await record.ask(session_calls.attempt(user_key, "user", token, limit, window, lockout)))

    async def _read(self, fresh: bool) -> SessionUser | str:
        return await self._record.read(session_calls.read(self._record.codec, self._record.key), fresh=fresh)
