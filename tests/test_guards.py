"""What can refuse a change in the script itself: fence, deadline and expected version, judged by the server."""

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
        return self.client.evalsha(
            SET.sha, 1, self.key, "jwriter", str(self.sequence), "60000", conditions, "100", "sname", value
        )

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
    assert field.set("1", guards(expected_version=0)) == first
