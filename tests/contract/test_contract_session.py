"""What a conversation's session promises: it ends in time, by the server's clock, and shows nobody who it is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
import servers
from contract.records import Record
from contract.test_contract_refusals import refused

from redstate import SessionUser, errors

BRIEF = 0.05  # seconds: short enough to be waited for


def lapsed(conversation: Any) -> None:
    """Wait until nobody is logged in any more."""
    servers.wait_until(lambda: not conversation.session.authenticated(), "the session has lapsed")


def reason(conversation: Any) -> str:
    with pytest.raises(errors.NotAuthenticated) as caught:
        conversation.session.require()
    assert caught.value.key == conversation.key
    return str(caught.value.reason)


# Who is logged in -----------------------------------------------------------------------------------------------------


def test_a_user_who_logs_in_is_there_until_logging_out(conversation: Any) -> None:
    session = conversation.session
    session.login("user-7", username="ada", ttl=60, idle=30, tier="gold", seen=[datetime(2024, 1, 1, tzinfo=UTC)])
    user = session.user()
    assert type(user) is SessionUser
    assert (user.user_id, user.username) == ("user-7", "ada")
    assert user.data == {"tier": "gold", "seen": [datetime(2024, 1, 1, tzinfo=UTC)]}
    assert user.expires_at - user.since == timedelta(seconds=60)
    assert user.idle_expires_at - user.since == timedelta(seconds=30)
    assert abs(datetime.now(UTC) - user.since) < timedelta(minutes=1)
    assert session.authenticated() is True
    assert session.require() == user
    assert session.logout() is True
    assert (session.user(), session.authenticated(), session.logout()) == (None, False, False)
    assert reason(conversation) == "logged out"


def test_login_returns_the_session_as_it_is_read(conversation: Any) -> None:
    for idle in (None, 30):
        assert conversation.session.login("user-7", idle=idle, tier="gold") == conversation.session.user()


def test_a_session_is_the_same_in_every_store(conversation: Any, open_store: Callable[..., Any]) -> None:
    conversation.session.login("user-7")
    other = open_store().conversation("conv_123")
    assert other.session.user() == conversation.session.user()
    other.session.logout()
    assert conversation.session.authenticated() is False


def test_nobody_is_logged_in_where_nobody_was(conversation: Any) -> None:
    assert (conversation.session.user(), conversation.session.touch()) == (None, False)
    assert reason(conversation) == "logged out"
    assert not conversation.exists()


def test_logging_in_again_replaces_the_session(conversation: Any, record: Record) -> None:
    first = conversation.session.login("user-7", username="ada", idle=5, tier="gold")
    conversation.session.login("user-8", ttl=5)
    user = conversation.session.user()
    assert (user.user_id, user.username, user.data, user.idle_expires_at) == ("user-8", None, {}, None)
    assert user.since > first.since
    assert set(record.fields("u")) == {b"u", b"ud"}


def test_the_fields_of_state_and_cart_are_not_those_of_the_session(conversation: Any, record: Record) -> None:
    conversation.state.update(u=1, ud=2)
    conversation.cart.add("u")
    conversation.cart.add("d")
    conversation.session.login("user-7")
    session = record.fields("u")
    assert conversation.cart.clear() == 2
    assert conversation.state.delete("u", "ud") == 2
    assert record.fields("u") == session
    assert conversation.session.user().user_id == "user-7"
    conversation.state.update(u=1, ud=2)
    conversation.session.logout()
    assert dict(conversation.state.all()) == {"u": 1, "ud": 2}


def test_deleting_the_conversation_ends_the_session(conversation: Any, record: Record) -> None:
    conversation.session.login("user-7")
    conversation.delete()
    assert reason(conversation) == "logged out"
    assert record.fields("u") == {}
    conversation.session.login("user-7")
    assert conversation.if_logged_in.delete() is True
    assert record.fields("u") == {}
    assert not conversation.exists()


def test_a_session_takes_part_in_version_and_journal(conversation: Any) -> None:
    version = conversation.state.set("step", 1)
    first = conversation.session.login("user-7", op_id="login-1", expected_version=version)
    assert conversation.version() > version
    conversation.session.logout()
    assert conversation.session.login("user-7", op_id="login-1", expected_version=version) == first
    assert conversation.session.authenticated() is False
    with pytest.raises(errors.ConflictError):
        conversation.session.login("user-7", expected_version=version)
    with pytest.raises(errors.OperationMismatch):
        conversation.session.logout(op_id="login-1")


# Its end --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "why"),
    [
        ({"ttl": BRIEF}, "expired"),
        ({"ttl": BRIEF, "idle": 60}, "expired"),
        ({"idle": BRIEF}, "idle"),
        ({"ttl": 60, "idle": BRIEF}, "idle"),
        ({"ttl": 2 * BRIEF, "idle": BRIEF}, "idle"),
    ],
)
def test_a_session_lapses_and_the_state_lives_on(
    conversation: Any, record: Record, times: dict[str, float], why: str
) -> None:
    conversation.state.set("step", "paying")
    conversation.cart.add("sku", 2)
    conversation.session.login("user-7", **times)
    lapsed(conversation)
    assert reason(conversation) == why
    for change in (
        lambda: conversation.if_logged_in.cart.add("sku"),
        lambda: conversation.if_logged_in.state.set("step", "paid"),
    ):
        assert refused(change, record, errors.NotAuthenticated).reason == why
    assert conversation.session.touch() is False
    assert (conversation.state.get("step"), conversation.cart.count()) == ("paying", 2)


def test_touch_slides_the_idle_time_and_nothing_else(conversation: Any) -> None:
    first = conversation.session.login("user-7", ttl=60, idle=30)
    version = conversation.version()
    assert conversation.session.touch() is True
    user = conversation.session.user()
    assert user.idle_expires_at > first.idle_expires_at
    assert (user.since, user.expires_at) == (first.since, first.expires_at)
    assert conversation.version() == version


def test_touching_a_session_without_idle_time_changes_nothing(conversation: Any) -> None:
    first = conversation.session.login("user-7")
    assert conversation.session.touch() is True
    assert conversation.session.user() == first


def test_touching_does_not_prolong_a_session_beyond_its_expiry(conversation: Any) -> None:
    conversation.session.login("user-7", ttl=4 * BRIEF, idle=3 * BRIEF)
    servers.wait_until(lambda: not conversation.session.touch(), "the session has expired in spite of touching")
    assert reason(conversation) in {"expired", "idle"}


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), "60", True, 1e10])
def test_times_that_cannot_be_are_refused(conversation: Any, seconds: Any) -> None:
    for times in ({"ttl": seconds}, {"idle": seconds}):
        with pytest.raises(errors.InvalidTTL):
            conversation.session.login("user-7", **times)
    for times in ({"window": seconds}, {"lockout": seconds}):
        with pytest.raises(errors.InvalidTTL):
            conversation.session.attempt("ada", **times)
    assert not conversation.exists()


def test_a_session_goes_by_the_clock_although_the_version_is_ahead_of_it(conversation: Any, record: Record) -> None:
    conversation.state.set("a", 1)
    record.poke("v", "4000000000000000")
    user = conversation.session.login("user-7", ttl=60, idle=30)
    assert abs(datetime.now(UTC) - user.since) < timedelta(minutes=1)
    conversation.if_logged_in.state.set("a", 2)
    assert conversation.session.user().idle_expires_at - user.since < timedelta(minutes=1)
    assert conversation.session.logout() is True


# What nobody should see -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["password", "Password", "user_password", "userPassword", "passwd", "pwd", "token", "access_token", "accessToken",
     "secret", "client_secret", "pin", "card_pin", "PIN", "api_key", "apikey", "APIKey", "apiKey", "private_key", "otp",
     "cvv", "credentials", "Authorization", "session_cookie", "passphrase", "accesstoken", "authtoken", "csrftokens",
     "tokens", "authkey", "auth_key", "bearer", "sessionid", "session_id", "sessionID", "passkey", "card_number",
     "cardNumber", "cardnumber", "ssn", "SSN"],
)  # fmt: skip
def test_a_name_of_a_secret_is_refused_wherever_it_stands(conversation: Any, name: str) -> None:
    for data in ({name: "hunter2"}, {"profile": {name: "hunter2"}}, {"all": [({name: "hunter2"},)]}):
        with pytest.raises(errors.InvalidInput, match="nothing secret is stored") as caught:
            conversation.session.login("user-7", **data)
        assert "hunter2" not in str(caught.value)
    assert not conversation.exists()


@pytest.mark.parametrize(
    "name",
    ["shipping", "opinion", "compass", "passenger", "tier", "key", "spinner", "broken", "tokens_used", "tokenCount",
     "max_tokens", "session_idle", "compass_key", "discard_number", "session", "lessness"],
)  # fmt: skip
def test_a_name_that_only_looks_like_one_is_taken(conversation: Any, name: str) -> None:
    conversation.session.login("user-7", **{name: 1})
    assert conversation.session.user().data == {name: 1}


def test_neither_logs_nor_errors_nor_keys_tell_of_the_user(
    conversation: Any, raw: redis.Redis, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    session = conversation.session
    said = []
    with pytest.raises(errors.TooManyAttempts) as caught:
        for _ in range(9):
            session.attempt("ada.lovelace")
    said.append(repr(caught.value) + repr(caught.value.data))
    names = b" ".join(raw.scan_iter(f"{prefix}:*"))
    user = session.login("user-7", username="ada.lovelace", email="ada@example.org")
    said += [repr(user), repr(session.user()), repr(session), caplog.text]
    names += b" ".join(raw.scan_iter(f"{prefix}:*"))
    session.logout()
    with pytest.raises(errors.NotAuthenticated) as ended:
        session.require()
    said.append(repr(ended.value))
    for text in (*said, names.decode()):
        assert "lovelace" not in text and "example.org" not in text


def test_logging_out_leaves_nothing_of_the_user(conversation: Any, record: Record) -> None:
    conversation.session.login("user-7", username="ada", email="ada@example.org")
    conversation.session.logout()
    assert b"ada" not in b"".join(part for field in record.fields().items() for part in field)


# What redstate did not write ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("session", ["", "garbage", "1" * 63, "9" * 65, "x" + "9" * 63, b"\xff" * 64])
def test_a_session_that_is_none_is_corrupt_and_stays(conversation: Any, record: Record, session: Any) -> None:
    conversation.session.login("user-7")
    record.poke("u", session)
    for call in (
        conversation.session.user,
        conversation.session.authenticated,
        conversation.session.require,
        conversation.session.touch,
        lambda: conversation.if_logged_in.state.set("a", 1),
    ):
        error = refused(call, record, errors.CorruptState)
        assert (error.key, error.field) == (conversation.key, "u")
    conversation.session.login("user-8")
    assert conversation.session.user().user_id == "user-8"
    record.poke("u", session)
    conversation.session.logout()
    assert reason(conversation) == "logged out"


@pytest.mark.parametrize(
    "user", [b"", b"garbage", b"\xff", b"[]", b"7", b'{"user_id":7,"username":null,"data":{}}', b'{"user_id":"a"}']
)
def test_a_user_who_is_none_is_corrupt_and_stays(conversation: Any, record: Record, user: bytes) -> None:
    conversation.session.login("user-7")
    record.poke("ud", user)
    for read in (conversation.session.user, conversation.session.require):
        error = refused(read, record, errors.CorruptState)
        assert (error.key, error.field) == (conversation.key, "ud")
