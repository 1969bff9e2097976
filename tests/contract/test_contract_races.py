"""Many writers at once: threads of a Store and tasks of an AsyncStore on the same conversation."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from redstate import AsyncStore, Store, errors

WRITERS, EACH = 8, 100


@pytest.fixture
def colour() -> str:
    return "sync"  # these tests use both at once


def in_threads(count: int, work: Callable[[int], object]) -> list[object]:
    """Run ``work`` in so many threads that begin at the same moment."""
    start = threading.Barrier(count)

    def begin(number: int) -> object:
        start.wait(10)
        return work(number)

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(begin, range(count)))


async def in_tasks(url: str, prefix: str) -> list[int]:
    async with AsyncStore.from_url(url, key_prefix=prefix, timeout=60) as store:
        state = store.conversation("c").state

        async def writer() -> list[int]:
            return [await state.increment("n") for _ in range(EACH)]

        series = await asyncio.gather(*(writer() for _ in range(WRITERS)))
        return [value for values in series for value in values]


def test_increments_of_threads_and_tasks_add_up_exactly(contract_url: str, prefix: str) -> None:
    found: list[int] = []
    with Store.from_url(contract_url, key_prefix=prefix, timeout=60) as store:
        state = store.conversation("c").state
        tasks = threading.Thread(target=lambda: found.extend(asyncio.run(in_tasks(contract_url, prefix))))
        tasks.start()
        for values in in_threads(WRITERS, lambda _: [state.increment("n") for _ in range(EACH)]):
            found += values
        tasks.join()
        assert state.get("n") == 2 * WRITERS * EACH
    assert sorted(found) == list(range(1, 2 * WRITERS * EACH + 1))


def test_versions_of_concurrent_changes_are_distinct_and_rise_for_each_writer(contract_url: str, prefix: str) -> None:
    with Store.from_url(contract_url, key_prefix=prefix, timeout=60) as store:
        state = store.conversation("c").state
        series = in_threads(8, lambda number: [state.set(f"f{number}", turn) for turn in range(50)])
        assert all(versions == sorted(versions) for versions in series)
        together = [version for versions in series for version in versions]
        assert len(set(together)) == len(together) == 400
        assert store.conversation("c").version() == max(together)


def test_of_many_that_create_a_conversation_one_succeeds(contract_url: str, prefix: str) -> None:
    with Store.from_url(contract_url, key_prefix=prefix, timeout=60) as store:
        conversation = store.conversation("c")

        def create(number: int) -> bool:
            try:
                conversation.state.set("creator", number, expected_version=0)
            except errors.ConflictError as error:
                return error.current_version == 0  # never: the one that won has a version
            return True

        assert in_threads(16, create).count(True) == 1


def test_read_modify_write_under_expected_version_loses_nothing(contract_url: str, prefix: str) -> None:
    with Store.from_url(contract_url, key_prefix=prefix, timeout=60) as store:
        conversation = store.conversation("c")
        conversation.state.set("list", [])

        def add(number: int) -> None:
            for turn in range(5):
                while True:
                    version = conversation.version()
                    items = conversation.state.get("list")
                    try:
                        conversation.state.set("list", [*items, [number, turn]], expected_version=version)
                        break
                    except errors.ConflictError:
                        continue

        in_threads(4, add)
        assert sorted(conversation.state.get("list")) == [[number, turn] for number in range(4) for turn in range(5)]


def test_one_op_id_from_many_threads_is_applied_once(contract_url: str, prefix: str) -> None:
    with Store.from_url(contract_url, key_prefix=prefix, timeout=60) as store:
        cart = store.conversation("c").cart
        assert set(in_threads(16, lambda _: cart.add("sku", 3, "9.99", op_id="order"))) == {3}
        assert cart.count() == 3
