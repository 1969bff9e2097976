"""What the cache promises: values that end, are loaded again, and are dropped by key or by tag."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
import redis

from redstate import ABSENT, errors
from redstate._keys import cache_key, tag_key

VALUES = [None, 0, "", [], {"price": Decimal("9.99"), "at": datetime(2030, 1, 2)}, (1, {2}), b"\x00 \xff", "a b\r\n;"]
HOSTILE = ["}", "a}:{b", "a b", "a\r\nb", "%7D", "é", "conv:a", "0", "a" * 512]


@pytest.fixture
def cache(store: Any) -> Any:
    return store.cache


@pytest.fixture
def other(open_store: Callable[..., Any]) -> Any:
    """The cache as another process sees it; used from another thread."""
    return open_store().cache


def elsewhere(action: Callable[[], Any]) -> Any:
    """What an action returns in a thread of its own, so that it can run inside a loader of either colour."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(action).result(60)


def never() -> Any:
    raise AssertionError("this loader must not run")


def until_lapsed(cache: Any, key: str) -> None:
    """Until the server takes a value of a short ttl for lapsed."""
    while cache.get(key, ABSENT) is not ABSENT:
        pass


def test_what_was_set_is_there_with_its_type(cache: Any) -> None:
    for number, value in enumerate(VALUES):
        cache.set(f"k{number}", value)
        assert cache.get(f"k{number}", ABSENT) == value
        assert type(cache.get(f"k{number}", ABSENT)) is type(value)


def test_a_cached_none_is_told_from_nothing(cache: Any) -> None:
    assert (cache.get("k"), cache.get("k", 7), cache.get("k", ABSENT)) == (None, 7, ABSENT)
    cache.set("k", None)
    assert (cache.get("k", 7), cache.get("k", ABSENT)) == (None, None)
    assert repr(ABSENT) == "redstate.ABSENT"


def test_each_reader_gets_a_copy_of_its_own(cache: Any) -> None:
    loaded = cache.get_or_set("k", lambda: {"list": [1]})
    loaded["list"].append("not cached")
    cache.get("k")["list"].append("not cached")
    assert cache.get("k") == {"list": [1]}


def test_the_last_value_set_counts(cache: Any, other: Any) -> None:
    cache.set("k", 1)
    elsewhere(lambda: other.set("k", 2))
    assert cache.get("k") == 2


def test_hostile_keys_and_tags_have_keys_of_their_own(cache: Any, raw: redis.Redis, prefix: str) -> None:
    for number, name in enumerate(HOSTILE):
        cache.set(name, number, tags=[name])
    assert [cache.get(name) for name in HOSTILE] == list(range(len(HOSTILE)))
    for name in HOSTILE:
        for key in (cache_key(prefix, name), tag_key(prefix, name)):
            assert raw.exists(key) and re.fullmatch(rf"{prefix}:\{{(cache|tag):[^{{}}\s]+\}}", key)


# Life -----------------------------------------------------------------------------------------------------------------


def test_an_entry_ends_with_its_ttl(cache: Any, raw: redis.Redis, prefix: str) -> None:
    cache.set("k", 1, 0.05)
    until_lapsed(cache, "k")
    while raw.exists(cache_key(prefix, "k")):
        pass


def test_the_ttl_is_300_seconds_unless_given(cache: Any, raw: redis.Redis, prefix: str) -> None:
    cache.set("set", 1)
    cache.get_or_set("loaded", lambda: 1)
    for key in ("set", "loaded"):
        assert 260_000 < raw.pttl(cache_key(prefix, key)) <= 300_000


def test_entries_made_together_end_apart_within_a_tenth(cache: Any, raw: redis.Redis, prefix: str) -> None:
    spans = []
    for number in range(60):
        cache.set(f"k{number}", number, 1000) if number % 2 else cache.get_or_set(f"k{number}", lambda: 1, 1000)
        seconds, micros = raw.time()
        until = int(raw.hget(cache_key(prefix, f"k{number}"), "u") or 0)
        spans.append(until / 1e6 - seconds - micros / 1e6)
    assert all(890 < span <= 1000 for span in spans)
    assert max(spans) - min(spans) > 20


def test_no_key_of_the_cache_stays_for_ever(cache: Any, raw: redis.Redis, prefix: str) -> None:
    cache.set("set", 1, tags=["a", "b"])
    cache.get_or_set("loaded", lambda: [raw.pttl(key) > 0 for key in raw.keys(f"{prefix}:*")], tags=["b", "c"])
    assert all(cache.get("loaded"))
    keys = raw.keys(f"{prefix}:*")
    assert len(keys) == 5 and all(raw.pttl(key) > 0 for key in keys)


def test_a_tag_outlives_every_entry_that_carries_it(cache: Any, raw: redis.Redis, prefix: str) -> None:
    cache.set("long", 1, 1000, tags=["t"])
    cache.set("short", 1, 10, tags=["t"])
    assert raw.pttl(tag_key(prefix, "t")) > raw.pttl(cache_key(prefix, "long"))


# Loading --------------------------------------------------------------------------------------------------------------


def test_a_value_is_loaded_once_and_then_found(cache: Any, other: Any) -> None:
    assert cache.get_or_set("k", lambda: [1, 2]) == [1, 2]
    assert cache.get_or_set("k", never) == [1, 2]
    assert elsewhere(lambda: other.get_or_set("k", never)) == [1, 2]


def test_whoever_comes_during_a_load_waits_for_its_result(cache: Any, other: Any) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = []

        def load() -> str:
            waiting.append(pool.submit(other.get_or_set, "k", never))
            return "loaded"

        assert cache.get_or_set("k", load) == "loaded"
        assert waiting[0].result(60) == "loaded"


def test_the_stale_value_serves_while_another_loads(cache: Any, other: Any) -> None:
    cache.get_or_set("k", lambda: "old", 0.02, stale=600)
    until_lapsed(cache, "k")
    seen = []

    def load() -> str:
        seen.append(elsewhere(lambda: other.get_or_set("k", never)))
        seen.append(elsewhere(lambda: other.get("k", ABSENT)))
        return "new"

    assert cache.get_or_set("k", load) == "new"
    assert seen == ["old", ABSENT]
    assert cache.get("k") == "new"


def test_a_value_without_a_stale_time_is_not_served_stale(cache: Any, other: Any) -> None:
    cache.get_or_set("k", lambda: "old", 0.02)
    until_lapsed(cache, "k")
    with ThreadPoolExecutor(1) as pool:
        waiting = []

        def load() -> str:
            waiting.append(pool.submit(other.get_or_set, "k", never))
            return "new"

        assert cache.get_or_set("k", load) == "new"
        assert waiting[0].result(60) == "new"


def test_a_loader_that_raises_is_heard_by_its_caller_and_blocks_nobody(
    cache: Any, raw: redis.Redis, prefix: str
) -> None:
    failure = LookupError("no such product")

    def load() -> Any:
        raise failure

    with pytest.raises(LookupError) as caught:
        cache.get_or_set("k", load)
    assert caught.value is failure
    assert not hasattr(failure, "__notes__")
    assert not raw.exists(cache_key(prefix, "k"))
    assert cache.get_or_set("k", lambda: "second") == "second"


def test_a_result_that_cannot_be_stored_is_refused_and_blocks_nobody(cache: Any) -> None:
    with pytest.raises(errors.UnsupportedValue):
        cache.get_or_set("k", lambda: [object()])
    with pytest.raises(errors.TooLarge):
        cache.get_or_set("k", lambda: "x" * 300_000)
    assert cache.get_or_set("k", lambda: "second") == "second"


def test_a_loader_that_raises_leaves_the_stale_value(cache: Any) -> None:
    cache.get_or_set("k", lambda: "old", 0.02, stale=600)
    until_lapsed(cache, "k")
    with pytest.raises(ZeroDivisionError):
        cache.get_or_set("k", lambda: 1 // 0)
    assert cache.get_or_set("k", lambda: "new") == "new"


def test_a_loader_that_outlives_its_lease_loses_it(cache: Any, other: Any) -> None:
    def load() -> str:
        assert elsewhere(lambda: other.get_or_set("k", lambda: "of the next")) == "of the next"
        return "late"

    assert cache.get_or_set("k", load, lease=0.05) == "late"
    assert cache.get("k") == "of the next"


def test_who_has_waited_for_as_long_as_a_lease_loads_for_himself(cache: Any, other: Any) -> None:
    def load() -> str:
        assert elsewhere(lambda: other.get_or_set("k", lambda: "his own", lease=0.05)) == "his own"
        return "loaded"

    assert cache.get_or_set("k", load, lease=60) == "loaded"
    assert cache.get("k") == "loaded"


def test_what_a_lapsed_lease_brings_is_not_kept_even_if_nobody_else_loaded(
    cache: Any, raw: redis.Redis, prefix: str
) -> None:
    def load() -> str:
        while raw.exists(cache_key(prefix, "k")):
            pass
        return "late"

    assert cache.get_or_set("k", load, lease=0.05) == "late"
    assert cache.get("k", ABSENT) is ABSENT


# Nothing to load ------------------------------------------------------------------------------------------------------


def test_a_none_is_kept_for_its_own_ttl(cache: Any, raw: redis.Redis, prefix: str) -> None:
    for key, named, most in [("a", {}, 30), ("b", {"negative_ttl": 7}, 7), ("c", {"ttl": 5}, 5)]:
        assert cache.get_or_set(key, lambda: None, stale=1000, **named) is None
        assert cache.get_or_set(key, never) is None
        assert cache.get(key, ABSENT) is None
        assert most * 800 < raw.pttl(cache_key(prefix, key)) <= most * 1000


def test_a_none_is_not_kept_where_its_ttl_is_0(cache: Any, raw: redis.Redis, prefix: str) -> None:
    assert cache.get_or_set("k", lambda: None, negative_ttl=0) is None
    assert not raw.exists(cache_key(prefix, "k"))
    assert cache.get_or_set("k", lambda: 1, negative_ttl=0) == 1


# Invalidation ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["delete", "invalidate"])
def test_a_key_can_be_dropped(cache: Any, raw: redis.Redis, prefix: str, name: str) -> None:
    cache.set("k", 1)
    cache.set("kept", 2)
    getattr(cache, name)("k")
    getattr(cache, name)("k")
    assert (cache.get("k", ABSENT), cache.get("kept")) == (ABSENT, 2)
    assert not raw.exists(cache_key(prefix, "k"))


def test_a_tag_drops_all_that_carry_it_and_nothing_else(cache: Any, other: Any) -> None:
    cache.set("a", 1, tags=["red", "big"])
    cache.get_or_set("b", lambda: 2, tags={"red"})
    cache.set("c", 3, tags=["big"])
    cache.set("d", 4)
    elsewhere(lambda: other.invalidate_tag("red"))
    assert [cache.get(key) for key in "abcd"] == [None, None, 3, 4]
    assert cache.get_or_set("a", lambda: 5, tags=["red", "big"]) == 5
    assert cache.get_or_set("a", never) == 5
    cache.invalidate_tag("big")
    assert [cache.get(key) for key in "abcd"] == [None, None, None, 4]


def test_an_invalidated_value_is_not_served_stale(cache: Any, other: Any) -> None:
    cache.get_or_set("k", lambda: "old", 0.02, stale=600, tags=["t"])
    until_lapsed(cache, "k")
    cache.invalidate_tag("t")
    with ThreadPoolExecutor(1) as pool:
        waiting = []

        def load() -> str:
            waiting.append(pool.submit(other.get_or_set, "k", never))
            return "new"

        assert cache.get_or_set("k", load, tags=["t"]) == "new"
        assert waiting[0].result(60) == "new"


@pytest.mark.parametrize("act", ["invalidate", "invalidate_tag", "delete"])
def test_a_load_that_was_under_way_is_not_kept_when_it_was_invalidated(cache: Any, other: Any, act: str) -> None:
    def load() -> str:
        elsewhere(lambda: getattr(other, act)("t" if act == "invalidate_tag" else "k"))
        return "of before"

    assert cache.get_or_set("k", load, tags=["t"]) == "of before"
    assert cache.get("k", ABSENT) is ABSENT
    assert cache.get_or_set("k", lambda: "of after") == "of after"


def test_what_is_set_during_a_load_is_newer(cache: Any, other: Any) -> None:
    def load() -> str:
        elsewhere(lambda: other.set("k", "set"))
        return "loaded"

    assert cache.get_or_set("k", load) == "loaded"
    assert cache.get("k") == "set"


def test_a_tag_that_the_server_dropped_brings_nothing_back(cache: Any, raw: redis.Redis, prefix: str) -> None:
    cache.set("k", 1, tags=["t"])
    cache.invalidate_tag("t")
    raw.delete(tag_key(prefix, "t"))
    assert cache.get("k", ABSENT) is ABSENT
    cache.set("other", 2, tags=["t"])
    assert (cache.get("k", ABSENT), cache.get("other")) == (ABSENT, 2)
