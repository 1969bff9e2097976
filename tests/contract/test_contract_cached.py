"""What ``store.cached`` makes of a function: results by arguments, found by every process."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from redstate import AsyncStore, errors


def counted(ran: list[Any]) -> Callable[..., Any]:
    """A function that notes its calls."""

    def price(product: Any, currency: str = "EUR", *, gross: bool = True) -> list[Any]:
        ran.append(product)
        return [product, currency, gross]

    return price


def test_a_function_runs_once_for_the_same_arguments(store: Any) -> None:
    ran: list[Any] = []
    price = store.cached(ttl=60)(counted(ran))
    assert price("P1") == price("P1") == price("P1", "EUR") == price(product="P1", gross=True) == ["P1", "EUR", True]
    assert price("P1", "USD") == ["P1", "USD", True]
    assert price("P1", gross=False) == ["P1", "EUR", False]
    assert ran == ["P1"] * 3


def test_arguments_of_different_types_are_different(store: Any) -> None:
    ran: list[Any] = []
    price = store.cached()(counted(ran))
    values = [1, "1", True, 1.0, None, "None", (1,), [1], b"1"]
    for value in values * 2:
        found = price(value)[0]
        assert (found, type(found)) == (value, type(value))
    assert len(ran) == len(values)


def test_a_result_can_be_dropped_by_its_arguments_or_tag(store: Any) -> None:
    ran: list[Any] = []
    price = store.cached(60, tags=["prices"])(counted(ran))
    price("P1"), price("P2")
    price.invalidate("P1", currency="EUR")
    price("P1"), price("P2")
    assert ran == ["P1", "P2", "P1"]
    store.cache.invalidate_tag("prices")
    price("P1"), price("P2")
    assert len(ran) == 5


def test_another_process_finds_the_results_of_a_function_of_the_same_name(
    store: Any, open_store: Callable[..., Any]
) -> None:
    ran: list[Any] = []
    store.cached()(counted(ran))("P1")
    open_store().cached()(counted(ran))("P1")
    assert ran == ["P1"]


def test_a_name_sets_functions_apart_or_joins_them(store: Any) -> None:
    first: list[Any] = []
    second: list[Any] = []
    store.cached(key="one")(counted(first))("P1")
    store.cached(key="two")(counted(second))("P1")
    store.cached(key="one")(counted(second))("P1")
    assert (first, second) == (["P1"], ["P1"])


def test_a_key_can_be_made_of_the_arguments(store: Any) -> None:
    class Shop:
        def __init__(self) -> None:
            self.ran: list[str] = []

    def price(shop: Shop, product: str) -> str:
        shop.ran.append(product)
        return product.lower()

    cached = store.cached(key=lambda shop, product: f"price:{product}")(price)
    shop = Shop()
    assert [cached(shop, "P1"), cached(shop, product="P1"), store.cache.get("price:P1")] == ["p1"] * 3
    assert shop.ran == ["P1"]
    with pytest.raises(errors.UnsupportedValue):
        store.cached()(price)(shop, "P1")


def test_wrong_arguments_are_the_callers_type_error(store: Any) -> None:
    price = store.cached()(counted([]))
    with pytest.raises(TypeError):
        price()


@pytest.mark.parametrize("key", ["", 7, b"k", "a" * 500], ids=lambda key: repr(key)[:9])
def test_a_key_that_is_neither_a_name_nor_a_function_is_refused(store: Any, key: Any) -> None:
    with pytest.raises(errors.InvalidInput):
        store.cached(key=key)(counted([]))


def test_only_functions_can_be_cached(store: Any) -> None:
    with pytest.raises(errors.InvalidInput):
        store.cached()(7)


def test_a_method_without_a_key_is_told_about_self(store: Any) -> None:
    class Shop:
        pass

    def price(self: Any, product: str) -> str:
        return product

    cached = store.cached()(price)
    with pytest.raises(errors.UnsupportedValue, match=r"self.* is part of the key.*key=") as caught:
        cached(Shop(), "P1")
    assert caught.value.value_type


KEYS = """
import sys, redstate
from redstate.calls.cache import key_maker
from redstate._codec import Codec
def f(x, y=None): ...
make = key_maker(Codec(), "rs", f, "f")
print(make(({"red", "green", "blue"}, {"b": 1, "a": {3, 1, 2}}), {}))
"""


def test_the_order_of_a_set_or_a_dict_says_nothing_in_any_process() -> None:
    found = {
        subprocess.run(
            [sys.executable, "-c", KEYS], env={**os.environ, "PYTHONHASHSEED": seed}, check=True, capture_output=True
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(found) == 1


def test_a_cancelled_load_leaves_no_lease_behind(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with AsyncStore.from_url(url, key_prefix=prefix) as store:

            async def load() -> int:
                return 1

            for ticks in range(12):
                waiting = asyncio.create_task(store.cache.get_or_set(f"key-{ticks}", load, lease=60))
                for _ in range(ticks):
                    await asyncio.sleep(0)
                waiting.cancel()
                await asyncio.wait({waiting})
                async with asyncio.timeout(20):
                    assert await store.cache.get_or_set(f"key-{ticks}", load, lease=60) == 1

    asyncio.run(scenario())
