"""What can refuse a change in the script: fence, deadline, session and expected version, judged by the server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from redstate import _scripts
from redstate._call import guards, version_of
from redstate._keys import conversation_key

SET = _scripts.load("state_set")
YEAR_US = 365 * 86_400_000_000
OLD, NEW = 1_700_000_000_000_000, 1_700_000_000_000_001


@pytest.fixture
def client(url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(url, decode_responses=True) as client:
        client.script_load(SET.source)
        yield client


class Field:
    """One record, changed by the script alone."""

    def __init__(self, client: redis.Redis, key: str) -> None:
        self.client, self.key, self.sequence = client, key, 1_000_000_000

    def set(self, value: str, conditions: str) -> Any:
        self.sequence += 1
        caps = ("100", "100000")
        return self.client.evalsha(
            SET.sha, 1, self.key, "jwriter", str(self.sequence), "60000", conditions, *caps, "sname", value
        )

    def log_in(self, idle_ends: int, expires: int, idle: int = 0) -> None:
        self.client.hset(self.key, "u", f"{idle_ends:016d}{expires:016d}{self.now_us():016d}{idle:016d}")

    def now_us(self) -> int:
        seconds, micros = self.client.time()
        return int(seconds) * 1_000_000 + int(micros)


@pytest.fixture
def field(client: redis.Redis, prefix: str) -> Field:
    return Field(client, conversation_key(prefix, "guarded"))


def test_no_conditions_are_an_empty_word() -> None:
    assert guards() == ""


def test_a_change_under_a_superseded_token_is_refused_and_changes_nothing(field: Field) -> None:
    field.set("1", "")
    field.client.hset(field.key, "f", str(NEW))
    before = field.client.hgetall(field.key)
    with pytest.raises(redis.ResponseError, match=f"RSFENCED {NEW}"):
        field.set("2", guards(fence=OLD))
    assert field.client.hgetall(field.key) == before


@pytest.mark.parametrize("token", [NEW, NEW + 1])
def test_a_change_under_the_owners_token_or_a_newer_one_is_applied(field: Field, token: int) -> None:
    field.client.hset(field.key, "f", str(NEW))
    field.set("2", guards(fence=token))
    assert field.client.hget(field.key, "sname") == "2"


def test_a_writer_without_a_token_is_not_fenced(field: Field) -> None:
    field.client.hset(field.key, "f", str(NEW))
    field.set("2", guards(deadline_us=field.now_us() + YEAR_US))
    assert field.client.hget(field.key, "sname") == "2"


def test_a_change_past_its_deadline_is_refused_by_the_servers_clock(field: Field) -> None:
    field.set("1", guards(deadline_us=field.now_us() + YEAR_US))
    before = field.client.hgetall(field.key)
    with pytest.raises(redis.ResponseError, match="RSDEADLINE"):
        field.set("2", guards(deadline_us=field.now_us() - 1))
    assert field.client.hgetall(field.key) == before


def test_all_conditions_hold_together_or_the_change_is_refused(field: Field) -> None:
    version = version_of(field.set("1", "").encode())
    field.client.hset(field.key, "f", str(NEW))
    far = field.now_us() + YEAR_US
    with pytest.raises(redis.ResponseError, match=f"RSCONFLICT {version}"):
        field.set("2", guards(fence=NEW, deadline_us=far, expected_version=version - 1))
    field.set("3", guards(fence=NEW, deadline_us=far, expected_version=version))
    assert field.client.hget(field.key, "sname") == "3"


def test_an_answered_change_is_answered_again_although_its_conditions_no_longer_hold(field: Field) -> None:
    first = field.set("1", guards(expected_version=0))
    field.sequence -= 1
    assert field.set("1", guards(expected_version=0))[16:] == first[16:]


# The session ----------------------------------------------------------------------------------------------------------

HOUR_US = 3_600_000_000
NEVER = 9_999_999_999_999_999


def refused(field: Field, conditions: str, reply: str) -> None:
    before = field.client.hgetall(field.key)
    with pytest.raises(redis.ResponseError, match=reply):
        field.set("refused", conditions)
    assert field.client.hgetall(field.key) == before


def test_without_a_session_the_guard_refuses(field: Field) -> None:
    refused(field, guards(logged_in=True), "RSLOGIN out")
    assert not field.client.exists(field.key)
    field.set("1", guards())
    refused(field, guards(logged_in=True), "RSLOGIN out")


@pytest.mark.parametrize(
    ("idle_ends", "expires", "reason"),
    [(-1, HOUR_US, "idle"), (HOUR_US, -1, "expired"), (-2, -1, "idle"), (-1, -2, "expired"), (-1, -1, "expired")],
)
def test_a_session_past_either_end_is_none_and_the_first_end_is_the_reason(
    field: Field, idle_ends: int, expires: int, reason: str
) -> None:
    now = field.now_us()
    field.log_in(now + idle_ends, now + expires, HOUR_US)
    refused(field, guards(logged_in=True), f"RSLOGIN {reason}")


def test_a_live_session_lets_the_change_pass_and_its_idle_time_begins_anew(field: Field) -> None:
    now = field.now_us()
    field.log_in(now + HOUR_US, now + YEAR_US, 2 * HOUR_US)
    logged_in = field.client.hget(field.key, "u")
    field.set("1", guards(logged_in=True))
    session = field.client.hget(field.key, "u")
    assert field.client.hget(field.key, "sname") == "1"
    assert now + 2 * HOUR_US <= int(session[:16]) <= field.now_us() + 2 * HOUR_US
    assert session[16:] == logged_in[16:]


def test_a_session_without_idle_time_stays_as_it_is(field: Field) -> None:
    field.log_in(NEVER, field.now_us() + HOUR_US)
    logged_in = field.client.hget(field.key, "u")
    field.set("1", guards(logged_in=True))
    assert field.client.hget(field.key, "u") == logged_in


def test_a_change_without_the_guard_neither_needs_a_session_nor_slides_it(field: Field) -> None:
    now = field.now_us()
    field.log_in(now - 1, now - 1, HOUR_US)
    logged_in = field.client.hget(field.key, "u")
    field.set("1", guards(deadline_us=now + YEAR_US))
    assert field.client.hget(field.key, "u") == logged_in


@pytest.mark.parametrize(
    "session", ["", "garbage", "9" * 63, "9" * 65, "9" * 63 + "x", "-" + "9" * 63, "9" * 63 + "\n"]
)
def test_a_session_that_is_none_is_corrupt_and_stays(field: Field, session: str) -> None:
    field.client.hset(field.key, "u", session)
    refused(field, guards(logged_in=True), "RSCORRUPT session")


def test_every_condition_is_judged_beside_the_session(field: Field) -> None:
    now = field.now_us()
    version = version_of(field.set("1", "").encode())
    field.log_in(NEVER, now + HOUR_US)
    field.client.hset(field.key, "f", str(NEW))
    refused(field, guards(logged_in=True, expected_version=version - 1), f"RSCONFLICT {version}")
    refused(field, guards(logged_in=True, fence=OLD), f"RSFENCED {NEW}")
    refused(field, guards(logged_in=True, deadline_us=now - 1), "RSDEADLINE")
    field.set("2", guards(fence=NEW, deadline_us=now + HOUR_US, expected_version=version, logged_in=True))
    assert field.client.hget(field.key, "sname") == "2"


def test_an_answered_change_is_answered_again_although_the_session_has_ended(field: Field) -> None:
    field.log_in(NEVER, field.now_us() + HOUR_US)
    first = field.set("1", guards(logged_in=True))
    field.client.hdel(field.key, "u")
    field.sequence -= 1
    assert field.set("1", guards(logged_in=True))[16:] == first[16:]
