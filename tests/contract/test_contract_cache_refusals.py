"""What the cache refuses, and how it meets bytes that redstate did not write."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from redstate import errors
from redstate._keys import cache_key, tag_key


@pytest.fixture
def cache(store: Any) -> Any:
    return store.cache


def never() -> Any:
    raise AssertionError("this loader must not run")


BAD_SECONDS = [0, -1, 0.0001, float("nan"), float("inf"), 10**10, "60", True, b"1"]


@pytest.mark.parametrize("ttl", BAD_SECONDS, ids=repr)
def test_a_span_that_cannot_be_is_refused(cache: Any, raw: redis.Redis, prefix: str, ttl: Any) -> None:
    calls = [lambda: cache.set("k", 1, ttl), lambda: cache.cached(ttl)]
    names = ["ttl", "lease"] + (["stale", "negative_ttl"] if ttl not in (0, 0.0001) else [])
    calls += [lambda name=name: cache.get_or_set("k", never, **{name: ttl}) for name in names]
    for call in calls:
        with pytest.raises(errors.InvalidTTL):
            call()
    assert not raw.keys(f"{prefix}:*")


def test_a_lease_of_more_than_an_hour_is_refused(cache: Any) -> None:
    with pytest.raises(errors.InvalidTTL):
        cache.get_or_set("k", never, lease=3601)


@pytest.mark.parametrize("name", ["", None, 7, b"k", "a" * 513, "\ud800"], ids=repr)
def test_a_key_or_tag_that_cannot_be_a_name_is_refused(cache: Any, raw: redis.Redis, prefix: str, name: Any) -> None:
    for call in (
        lambda: cache.get(name),
        lambda: cache.set(name, 1),
        lambda: cache.set("k", 1, tags=[name]),
        lambda: cache.get_or_set(name, never),
        lambda: cache.get_or_set("k", never, tags=(name,)),
        lambda: cache.delete(name),
        lambda: cache.invalidate_tag(name),
    ):
        with pytest.raises(errors.InvalidId):
            call()
    assert not raw.keys(f"{prefix}:*")


@pytest.mark.parametrize(
    "tags", ["red", b"red", 7, None, [f"t{n}" for n in range(17)]], ids=lambda tags: repr(tags)[:9]
)
def test_tags_are_a_collection_of_at_most_16_names(cache: Any, tags: Any) -> None:
    with pytest.raises(errors.InvalidInput):
        cache.set("k", 1, tags=tags)
    cache.set("k", 1, tags=[f"t{n}" for n in range(16)])
    assert cache.get("k") == 1


def test_a_loader_is_a_function(cache: Any) -> None:
    with pytest.raises(errors.InvalidInput):
        cache.get_or_set("k", "no function")


def test_a_value_that_cannot_be_stored_changes_nothing(cache: Any) -> None:
    cache.set("k", 1)
    with pytest.raises(errors.UnsupportedValue):
        cache.set("k", object())
    assert cache.get("k") == 1


@pytest.mark.parametrize(
    ("field", "data"),
    [("v", b"{not"), ("i", b"x"), ("i", b""), ("t", b"a b"), ("t", b"mark"), ("u", b"soon"), ("k", b"7"), ("l", b"1")],
)
def test_bytes_of_others_are_said_and_left_alone(
    cache: Any, raw: redis.Redis, prefix: str, field: str, data: bytes
) -> None:
    name = cache_key(prefix, "k")
    cache.set("k", 1, tags=["t"])
    raw.hset(name, field, data)
    before = raw.hgetall(name)
    with pytest.raises(errors.CorruptState) as caught:
        cache.get_or_set("k", never)
    assert caught.value.key == name
    if field not in "kl":
        with pytest.raises(errors.CorruptState):
            cache.get("k")
    assert raw.hgetall(name) == before
    cache.set("k", 2)
    assert cache.get_or_set("k", never) == 2


def test_a_key_of_another_kind_is_corrupt(cache: Any, raw: redis.Redis, prefix: str) -> None:
    raw.set(cache_key(prefix, "k"), "text")
    for call in (
        lambda: cache.get("k"),
        lambda: cache.set("k", 1),
        lambda: cache.get_or_set("k", never),
        lambda: cache.delete("k"),
    ):
        with pytest.raises(errors.CorruptState):
            call()
    assert raw.get(cache_key(prefix, "k")) == b"text"
    raw.hset(tag_key(prefix, "t"), "m", "no mark")
    with pytest.raises(errors.CorruptState):
        cache.set("tagged", 1, tags=["t"])
