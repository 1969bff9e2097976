"""What the copies decide, without a server: which reply is late, whose message it was, what nobody is shown again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import servers

from redstate.nearcache.clock import clock
from redstate.nearcache.copies import Copies, Local
from redstate.nearcache.holding import Fill
from redstate.nearcache.joining import LoopFetch, LoopJoins, ThreadFetch, ThreadJoins

KEY, D = "rs:{conv:c}", 3.0


@pytest.fixture(autouse=True)
def eager_copies() -> None:
    """Nothing waits here for a subscription."""


@dataclass(frozen=True)
class Seen:
    """A copy of a version."""

    version: int
    since: float
    until: float = float("inf")
    size: int = 100

    def audit(self, key: str) -> tuple[str, ...]:
        return ("HGETALL", key)

    def agrees(self, found: object) -> bool:
        return found == self.version


@pytest.fixture
def copies() -> Copies:
    """Copies with a connection on which the one key is subscribed to."""
    made = Copies(100, 100_000, lambda: None)
    made.link_up()
    made.echo = clock()
    assert made.begin(KEY, D) is None
    assert made.take_requests(shed=True) == [(True, KEY)]
    made.confirm(KEY)
    return made


def fill(copies: Copies, version: int) -> Fill:
    """Read the key at a version."""
    begun = copies.begin(KEY, D)
    assert begun is not None
    copies.complete(begun, Seen(version, begun.since))
    return begun


def served(copies: Copies) -> int | None:
    """The version that a read is shown; None where it asks the server."""
    copy = Local(copies, D).servable(KEY)
    return None if copy is None else int(copy.version)


def made(before: int, after: int) -> Callable[[Seen], Seen | None]:
    """The change that leads from one version to the next, on a copy."""
    return lambda copy: Seen(after, clock()) if copy.version == before else None


def test_a_reply_that_comes_after_a_message_about_a_later_version_is_not_kept(copies: Copies) -> None:
    begun = copies.begin(KEY, D)
    assert begun is not None
    copies.heard([(KEY, 11)])
    copies.complete(begun, Seen(10, begun.since))
    assert served(copies) is None
    assert copies.counters.late_fills == 1


def test_a_reply_that_has_the_change_of_the_message_is_kept(copies: Copies) -> None:
    begun = copies.begin(KEY, D)
    assert begun is not None
    copies.heard([(KEY, 11)])
    copies.complete(begun, Seen(11, begun.since))
    assert served(copies) == 11


def test_a_reply_that_comes_after_a_message_without_a_version_is_not_kept(copies: Copies) -> None:
    begun = copies.begin(KEY, D)
    assert begun is not None
    copies.heard([(KEY, None)])
    copies.complete(begun, Seen(10**9, begun.since))
    assert served(copies) is None


def test_a_reply_that_comes_after_everything_was_dropped_is_not_kept(copies: Copies) -> None:
    begun = copies.begin(KEY, D)
    assert begun is not None
    copies.link_down()
    copies.link_up()
    copies.complete(begun, Seen(10, begun.since))
    assert served(copies) is None


def test_a_message_about_what_the_copy_has_already_leaves_it(copies: Copies) -> None:
    fill(copies, 10)
    copies.heard([(KEY, 9), (KEY, 10)])
    assert served(copies) == 10
    copies.heard([(KEY, 11)])
    assert served(copies) is None


def test_a_record_that_lost_its_versions_is_kept_all_the_same(copies: Copies) -> None:
    fill(copies, 10)
    copies.heard([(KEY, 11)])
    fill(copies, 0)  # the server was emptied
    assert served(copies) == 0


def test_a_copy_stays_in_service_while_the_message_may_be_about_our_own_change(copies: Copies) -> None:
    fill(copies, 10)
    flight = copies.take_off(KEY)
    copies.heard([(KEY, 11)])
    assert served(copies) == 10
    copies.land(flight, KEY, 11, made(10, 11))
    assert served(copies) == 11


def test_a_second_message_cannot_be_about_the_one_change_under_way(copies: Copies) -> None:
    fill(copies, 10)
    flight = copies.take_off(KEY)
    copies.heard([(KEY, 11), (KEY, 12)])
    assert served(copies) is None
    copies.land(flight, KEY, 11, made(10, 11))
    assert served(copies) is None


def test_a_message_that_was_anothers_ends_the_copy_when_ours_has_landed(copies: Copies) -> None:
    fill(copies, 10)
    flight = copies.take_off(KEY)
    copies.heard([(KEY, 11)])  # another's
    copies.land(flight, KEY, 12, made(11, 12))  # ours, on top of it
    assert served(copies) is None


def test_a_change_that_failed_ends_what_its_message_was_excused_for(copies: Copies) -> None:
    fill(copies, 10)
    flight = copies.take_off(KEY)
    copies.heard([(KEY, 11)])
    copies.crash(flight, KEY)
    assert served(copies) is None


def test_changes_under_way_at_once_are_made_one_on_top_of_the_other(copies: Copies) -> None:
    fill(copies, 10)
    first, second = copies.take_off(KEY), copies.take_off(KEY)
    copies.heard([(KEY, 11), (KEY, 12)])
    assert served(copies) == 10
    copies.land(first, KEY, 11, made(10, 11))
    assert served(copies) == 11
    copies.land(second, KEY, 12, made(11, 12))
    assert served(copies) == 12


def test_who_was_shown_a_version_is_shown_no_older_one_although_changes_are_under_way(copies: Copies) -> None:
    fill(copies, 10)
    first, second = copies.take_off(KEY), copies.take_off(KEY)
    copies.heard([(KEY, 11), (KEY, 12)])
    copies.observed(KEY, 12)
    assert served(copies) is None
    copies.land(first, KEY, 11, made(10, 11))
    assert served(copies) is None
    copies.land(second, KEY, 12, made(11, 12))
    assert served(copies) == 12


def test_an_answer_without_a_copy_to_make_the_change_on_leaves_nothing_to_serve(copies: Copies) -> None:
    fill(copies, 10)
    copies.land(copies.take_off(KEY), KEY, 12, made(11, 12))
    assert served(copies) is None


def test_a_reply_that_its_reader_has_but_that_is_not_kept_counts_as_shown(copies: Copies) -> None:
    fill(copies, 10)
    begun = copies.begin(KEY, D)
    assert begun is not None
    copies.heard([(KEY, None)])
    fill(copies, 10)
    copies.complete(begun, Seen(11, begun.since))
    assert served(copies) is None


def test_what_a_reader_is_shown_counts_also_while_the_place_is_weighed_again(
    copies: Copies, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(copies, 10)
    monkeypatch.setattr(copies, "lookup", lambda key: None)  # as another thread finds it at that moment
    copies.observed(KEY, 11)
    monkeypatch.undo()
    assert served(copies) is None
    fill(copies, 11)
    monkeypatch.setattr(copies, "lookup", lambda key: None)
    copies.forget(KEY)
    monkeypatch.undo()
    assert served(copies) is None


def test_nothing_is_served_once_no_heartbeat_was_sent_for_so_long(copies: Copies) -> None:
    fill(copies, 10)
    copies.echo = clock() - D - 0.001
    assert served(copies) is None
    copies.begin(KEY, D)
    assert copies.counters.bypasses["silent"] == 1


def test_a_key_that_is_given_up_and_wanted_again_stands_with_its_last_confirmation(copies: Copies) -> None:
    copies.grow(1, 1)  # no more than there was
    small = Copies(1, 100, lambda: None)
    small.link_up()
    small.echo = clock()
    for key in ("one", "two", "one"):
        small.begin(key, D)
        small.take_requests(shed=True)
    assert not small.stands("one")
    small.confirm("one")
    small.confirm("two")
    assert not small.stands("one")  # between the two an UNSUBSCRIBE is on its way
    small.confirm("one")
    assert small.stands("one")


# Joining --------------------------------------------------------------------------------------------------------------


def under_way(copies: Copies) -> Fill:
    begun = copies.begin(KEY, D)
    assert begun is not None
    begun.patience = 1.0
    return begun


def join(joins: Any, copies: Copies, patience: float) -> Any:
    now = clock()
    return joins.join(KEY, copies.lookup(KEY), oldest=now - D, deadline=now + patience)


def test_threads_wait_for_what_one_of_them_fetches(copies: Copies) -> None:
    joins, found = ThreadJoins(), []
    begun = under_way(copies)
    fetch = ThreadFetch(begun)
    joins.lead(fetch)
    waiting = threading.Thread(target=lambda: found.append(join(joins, copies, 5)))
    waiting.start()
    joins.done(fetch, "copy")
    waiting.join(5)
    assert found in (["copy"], [None])  # None: it came when all was over
    assert join(joins, copies, 5) is None


def test_nobody_joins_a_fetch_that_may_bring_less_than_he_knows_of(copies: Copies) -> None:
    joins, begun = ThreadJoins(), under_way(copies)
    joins.lead(ThreadFetch(begun))
    copies.heard([(KEY, 11)])
    assert join(joins, copies, 5) is None


def test_nobody_joins_a_fetch_that_began_before_everything_was_dropped(copies: Copies) -> None:
    joins = ThreadJoins()
    joins.lead(ThreadFetch(under_way(copies)))
    copies.link_down()
    copies.link_up()
    assert join(joins, copies, 5) is None


def test_nobody_joins_a_fetch_that_began_too_long_ago(copies: Copies) -> None:
    joins, begun = ThreadJoins(), under_way(copies)
    begun.since -= D + 0.001
    joins.lead(ThreadFetch(begun))
    assert join(joins, copies, 50) is None


def test_nobody_joins_a_fetch_that_may_take_longer_than_he_can_wait(copies: Copies) -> None:
    joins, begun = ThreadJoins(), under_way(copies)
    joins.lead(ThreadFetch(begun))
    assert join(joins, copies, 0.5) is None


def test_tasks_join_and_the_end_of_one_is_not_the_others(copies: Copies) -> None:
    async def crowd() -> None:
        joins, begun = LoopJoins(), under_way(copies)
        fetch = LoopFetch(begun)
        joins.lead(fetch)
        tasks = [asyncio.create_task(join(joins, copies, 5)) for _ in range(3)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        await asyncio.sleep(0)
        joins.done(fetch, "copy")
        assert await asyncio.gather(*tasks[1:]) == ["copy", "copy"]
        assert tasks[0].cancelled()

    asyncio.run(crowd())


def test_a_fetch_that_failed_leaves_it_to_everybody(copies: Copies) -> None:
    async def crowd() -> None:
        joins, begun = LoopJoins(), under_way(copies)
        fetch = LoopFetch(begun)
        joins.lead(fetch)
        task = asyncio.create_task(join(joins, copies, 5))
        await asyncio.sleep(0)
        joins.done(fetch, None)
        assert await task is None

    asyncio.run(crowd())


def test_a_crowd_that_reads_one_record_fetches_it_once(contract_url: str, prefix: str) -> None:
    from redstate import AsyncStore

    async def crowd() -> None:
        async with AsyncStore.from_url(contract_url, key_prefix=prefix) as store:
            state = store.conversation("c").state
            await state.set("a", 1)
            copies = store.nearcache.local.copies
            await state.get("a")
            await asyncio.to_thread(servers.wait_until, lambda: copies.connected, "the listener is connected")
            await state.get("a")
            key = store.conversation("c").key
            await asyncio.to_thread(servers.wait_until, lambda: copies.stands(key), "it is subscribed to")
            assert await asyncio.gather(*(state.get("a") for _ in range(50))) == [1] * 50
            stats = store.nearcache.stats()
            assert (stats.misses, stats.joins) == (1, 49)

    asyncio.run(crowd())
