"""Calls on a conversation's session: who is logged in, until when, and how often that may be attempted."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from redstate import _keys, _scripts
from redstate._call import UNDECIDED, Mutation, Query, Read, Undecided, result_of
from redstate._codec import Codec
from redstate.calls.image import Image
from redstate.calls.moments import moment
from redstate.calls.record import corrupt_field, milliseconds, ttl_word, version_number
from redstate.errors import InvalidId, InvalidInput, InvalidTTL, TooManyAttempts

_LOGIN = _scripts.load("session_login")
_LOGOUT = _scripts.load("session_logout")
_READ = _scripts.load("session_read")
_TOUCH = _scripts.load("session_touch")
_ATTEMPT = _scripts.load("session_attempt")

MOST_ATTEMPTS = 100
_LIVE = b"live "
# The words of a name, also of one written inCamelCase. A secret's name has one of these words, which can be written as
# two, or one of these parts, or a word that ends with "token" unless another one says that the tokens are counted.
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
_SECRET_WORDS = frozenset(
    {
        "pwd",
        "pass",
        "jwt",
        "pin",
        "pins",
        "otp",
        "totp",
        "cvv",
        "cvc",
        "credential",
        "credentials",
        "authorization",
        "cookie",
        "cookies",
        "bearer",
        "ssn",
        "authkey",
        "passkey",
        "sessionid",
        "cardnumber",
    }
)
_COUNTED = frozenset({"used", "count", "limit", "left", "max", "total"})
_SECRET_PARTS = ("password", "passwd", "passphrase", "passcode", "secret", "apikey", "privatekey", "accesskey")


@dataclass(frozen=True, slots=True)
class SessionUser:
    """Who is logged in. Its ``repr`` shows neither name nor data, so that neither ends in a log.

    Attributes:
        user_id: as given at login.
        username: as given at login, or None.
        data: what else was given at login.
        since: when the login was, server time, UTC.
        expires_at: when the session ends, come what may.
        idle_expires_at: when it ends unless it is touched before; None without an idle time.
    """

    user_id: str
    username: str | None = field(repr=False)
    data: dict[str, Any] = field(repr=False)
    since: datetime
    expires_at: datetime
    idle_expires_at: datetime | None


def login(
    codec: Codec,
    key: str,
    user_id: str,
    username: str | None,
    ttl: float,
    idle: float | None,
    data: Mapping[str, Any],
) -> Mutation[SessionUser]:
    """Begin a session. Returns its user."""
    _name(user_id, "user_id")
    if username is not None:
        _name(username, "username")
    _refuse_secrets(data, "session")
    user = {"user_id": user_id, "username": username, "data": dict(data)}
    encoded = codec.encode(user, "session", field=_keys.USER)
    ttl_us, idle_us = microseconds("ttl", ttl), 0 if idle is None else microseconds("idle", idle)

    def parse(answer: bytes) -> SessionUser:
        since = result_of(answer)
        idle_ends = None if idle is None else moment(since + idle_us)
        return SessionUser(user_id, username, dict(data), moment(since), moment(since + ttl_us), idle_ends)

    return Mutation(_LOGIN, key, (str(ttl_us), f"{idle_us:016d}", encoded), parse, _keys.SESSION)


def logout(key: str) -> Mutation[bool]:
    """End the session. Returns whether there was a live one."""
    return Mutation(_LOGOUT, key, (), lambda answer: result_of(answer) == 1, _keys.SESSION)


def read(codec: Codec, key: str) -> Read[SessionUser | str]:
    """Who is logged in, or the script's word for why nobody is: "out", "idle" or "expired"."""

    def answer(reply: bytes) -> tuple[int, SessionUser | str]:
        version, reply = version_number(reply[:16]), reply[16:]
        if not reply.startswith(_LIVE):
            return version, _verdict(key, reply)
        return version, _user(codec, key, reply[5:69], reply[69:])

    def of_image(image: Image, now: float) -> SessionUser | str | Undecided:
        session, user = image.fields.get(b"u", b""), image.fields.get(b"ud", b"")
        # Only that it surely is live can be seen from here; why it is not, and whether it was touched since, cannot.
        server_time = b"%016d" % image.server_time_at_most(now)
        if not image.tells_time(now) or len(session) != 64 or not session.isdigit():
            return UNDECIDED
        if min(session[:16], session[16:32]) <= server_time:
            return UNDECIDED
        return _user(codec, key, session, user)

    return Read(key, (*_READ.evalsha, key), answer, of_image, _keys.SESSION, _READ)


def touch(key: str, ttl_ms: int) -> Query[bool]:
    """Begin the idle time anew. Returns whether the session is live."""

    def parse(reply: bytes) -> bool:
        return _verdict(key, reply) == "live"

    return Query(key, (*_TOUCH.evalsha, key, ttl_word(ttl_ms)), parse, _keys.SESSION, _TOUCH)


def attempt(key: str, scope: str, token: str, limit: int, window: float, lockout: float | None) -> Query[int]:
    """Count an attempt before it is made. Returns how many are left.

    Args:
        key: of the attempts, not of a record.
        scope: whose they are, for the error.
        token: eight letters that tell this attempt from others, so that sending it twice counts once.
        limit, window, lockout: see the handle.
    """
    if type(limit) is not int or not 1 <= limit <= MOST_ATTEMPTS:
        raise InvalidInput("limit is out of range", next_step=f"Pass an int from 1 to {MOST_ATTEMPTS}")
    window_us = microseconds("window", window)
    lockout_us = window_us if lockout is None else microseconds("lockout", lockout)
    kept_ms = str(max(window_us, lockout_us) // 1000)

    def parse(reply: bytes) -> int:
        if reply == b"corrupt":
            raise corrupt_field(key, _keys.TRIES)
        if not reply.startswith(b"-"):
            return int(reply)
        retry_after = int(reply[1:]) / 1_000_000
        raise TooManyAttempts(
            f"Too many attempts to log in; the next may be made in {math.ceil(retry_after)} s",
            retry_after=retry_after,
            scope=scope,
        )

    words = (*_ATTEMPT.evalsha, key, token, str(limit), str(window_us), str(lockout_us), kept_ms)
    return Query(key, words, parse, _keys.TRIES, _ATTEMPT)


def forget_attempts(key: str) -> Query[bool]:
    """Forget the attempts. Returns whether there were any."""
    return Query(key, ("HDEL", key, _keys.TRIES), lambda reply: int(reply) == 1, _keys.TRIES)


def microseconds(name: str, seconds: float) -> int:
    """A number of seconds as whole milliseconds, in microseconds.

    Raises:
        InvalidTTL: it is no number, not finite, below a millisecond or above ten years.
    """
    try:
        return milliseconds(seconds) * 1000
    except InvalidTTL:
        raise InvalidTTL(f"{name} is no usable number of seconds") from None


def _name(text: str, what: str) -> None:
    if type(text) is not str or not text or len(text) > _keys.MAX_ID_BYTES:
        raise InvalidId(f"The {what} cannot be used")


def _refuse_secrets(value: Any, path: str) -> None:
    """Look at the names inside plain data; what a name does not tell, nobody can."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if isinstance(name, str) and _is_secret(name):
                raise InvalidInput(
                    f"{path}.{name} has the name of a secret, and nothing secret is stored",
                    next_step="Keep it out of the session, or store a reference to it",
                )
            _refuse_secrets(inner, f"{path}.{name}")
    elif isinstance(value, (list, tuple)):
        for place, inner in enumerate(value):
            _refuse_secrets(inner, f"{path}[{place}]")


def _is_secret(name: str) -> bool:
    words = [word.lower() for word in _WORD.findall(name)]
    joined = "".join(words)
    pairs = [first + second for first, second in itertools.pairwise(words)]
    if not _SECRET_WORDS.isdisjoint([*words, *pairs]) or any(part in joined for part in _SECRET_PARTS):
        return True
    return _COUNTED.isdisjoint(words) and any(word.endswith(("token", "tokens")) for word in words)


def _verdict(key: str, reply: bytes) -> str:
    if reply not in {b"live", b"out", b"idle", b"expired"}:
        raise corrupt_field(key, _keys.SESSION)
    return reply.decode()


def _user(codec: Codec, key: str, session: bytes, encoded: bytes) -> SessionUser:
    """The user of a live session, of its 64 digits and of what was stored at login."""
    if not encoded:
        raise corrupt_field(key, _keys.USER)
    user = codec.decode(encoded, key=key, field=_keys.USER)
    idle_ends, expires, since, idle = (int(session[start : start + 16]) for start in range(0, 64, 16))
    match user:
        case {"user_id": str(user_id), "username": str() | None as username, "data": dict(data)}:
            idle_expires_at = moment(idle_ends) if idle else None
            return SessionUser(user_id, username, data, moment(since), moment(expires), idle_expires_at)
    raise corrupt_field(key, _keys.USER)
