"""What comes between the steps of an archiver: returns, erasures, late writes, other archivers. Nothing is lost or half
done, and what was erased is nowhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lifetime.lives import Lives
from servers import wait_until
from sweeper_steps import READ, step_of

from redstate import AsyncStore, errors
from redstate._call import Query
from redstate.archive.interface import ArchiveRow
from redstate.archive.sql import SqlArchive
from redstate.archive.sweeper import Sweeper

STEPS = ["+due_claim", "due_claim", READ, "+put", "put", "conversation_archived", "due_settle"]
Act = Callable[[], Awaitable[object]]


class Interrupted(Sweeper):
    """Does something else, once, just before ("+") or after a step."""

    def __init__(self, store: AsyncStore, step: str, act: Act, **options: Any) -> None:
        super().__init__(store, **options)
        ask, ask_all, run = self._ask, self._ask_all, self._archive.run

        async def at(name: str) -> None:
            nonlocal step
            if name == step:
                step = ""
                await act()

        async def asked(call: Query[Any]) -> Any:
            name = step_of(call)
            await at(f"+{name}")
            reply = await ask(call)
            await at(name)
            return reply

        async def all_asked(calls: list[Query[Any]]) -> list[Any]:
            name = step_of(*calls)
            await at(f"+{name}")
            replies = await ask_all(calls)
            await at(name)
            return replies

        async def ran(work: Any, timeout: float | None = None) -> Any:
            await at("+put")
            done = await run(work, timeout)
            await at("put")
            return done

        self._ask, self._ask_all, self._archive.run = asked, all_asked, ran  # type: ignore[method-assign]
        self.done = lambda: not step

    async def sweep(self) -> int:
        archived = await super().sweep()
        assert self.done(), "the step was not reached"
        return archived


def opened(lives: Lives, **options: Any) -> AsyncStore:
    options = {"archive": lives.path, "tombstone_ttl": 30.0, "max_staleness": 0, "idle": 300.0, **options}
    return AsyncStore.from_url(lives.url, key_prefix=lives.prefix, **options)


async def ended(store: AsyncStore, conversation_id: str = "c1") -> int:
    conversation = store.conversation(conversation_id, customer_id="cust")
    version = await conversation.state.update(a=1, items=[1])
    await conversation.end()
    return version


@pytest.mark.parametrize("step", STEPS)
def test_who_returns_between_two_steps_has_everything_and_leaves_once(lives: Lives, step: str) -> None:
    async def scenario() -> int:
        async with opened(lives) as store, opened(lives) as other:
            await ended(store)
            conversation = other.conversation("c1")

            async def back() -> None:
                assert await conversation.resume()
                await conversation.state.increment("a")

            await Interrupted(store, step, back).sweep()
            assert await conversation.state.all(fresh=True) == {"a": 2, "items": [1]}
            assert list(lives.index()) == ["c1"]
            last = await conversation.state.increment("a") and await conversation.version()
            assert await conversation.end("again")
            return last

    last = asyncio.run(scenario())
    lives.nothing_left()
    assert [(row.version, row.reason, row.state) for row in lives.rows()] == [(last, "again", '{"a":3,"items":[1]}')]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("how", ["delete", "erase", "erase and sweep"])
def test_what_is_erased_between_two_steps_is_nowhere(lives: Lives, step: str, how: str) -> None:
    async def scenario() -> None:
        async with opened(lives) as store, opened(lives) as other:
            await ended(store)

            async def erase() -> None:
                await (other.conversation("c1").delete() if how == "delete" else other.customer("cust").erase())
                if how == "erase and sweep":
                    await Sweeper(other).sweep()

            await Interrupted(store, step, erase).sweep()
            await Sweeper(store).sweep()
            assert await other.load_state("c1") == {}
            assert not await other.conversation("c1").resume()
            if how != "delete":
                assert await other.customer("cust").all(fresh=True) == {}

    asyncio.run(scenario())
    assert lives.rows() == []
    assert not any(name[:1] == b"s" for name in lives.record("c1"))


@pytest.mark.parametrize("step", STEPS)
def test_a_write_between_two_steps_is_refused(lives: Lives, step: str) -> None:
    async def scenario() -> int:
        async with opened(lives) as store, opened(lives) as other:
            version = await ended(store)

            async def write() -> None:
                with pytest.raises(errors.ConversationEnded):
                    await other.conversation("c1").state.set("a", 9)

            await Interrupted(store, step, write).sweep()
            return version

    version = asyncio.run(scenario())
    lives.nothing_left()
    assert [row.version for row in lives.rows()] == [version]


@pytest.mark.parametrize("step", STEPS)
def test_another_archiver_between_two_steps_does_no_harm(lives: Lives, step: str) -> None:
    async def scenario() -> int:
        async with opened(lives) as store:
            version = await ended(store)

            async def outrun() -> None:
                # The first stood still beyond its lease.
                lives.raw.zadd(next(iter(lives.raw.scan_iter(f"{lives.prefix}:{{due:*"))), {"c1": 1})
                await Sweeper(store).sweep()

            await Interrupted(store, step, outrun).sweep() if step != "due_settle" else await outrun()
            return version

    version = asyncio.run(scenario())
    lives.nothing_left()
    assert [row.version for row in lives.rows()] == [version]


async def silent(lives: Lives, store: AsyncStore, idle: float) -> None:
    """A conversation that nobody has ended, and that is due as it was silent for so long."""
    version = await store.conversation("c1", customer_id="cust").state.update(a=1, items=[1])
    lives.raw.zadd(next(iter(lives.raw.scan_iter(f"{lives.prefix}:{{due:*"))), {"c1": 1})

    def idle_for() -> float:
        seconds, us = lives.raw.time()
        return seconds + (us - version) / 1_000_000

    wait_until(lambda: idle_for() > idle, "the idle time is over")


CLOSING = [READ, "+conversation_collect", "conversation_collect"]


@pytest.mark.parametrize("step", CLOSING)
def test_who_goes_on_while_a_conversation_is_found_to_be_abandoned_loses_nothing(lives: Lives, step: str) -> None:
    async def scenario() -> int:
        async with opened(lives, idle=2.0) as store, opened(lives) as other:
            await silent(lives, other, 2.0)
            conversation = other.conversation("c1")

            async def goes_on() -> None:
                assert await conversation.resume()
                await conversation.state.increment("a")

            assert await Interrupted(store, step, goes_on).sweep() == 0
            assert await conversation.state.all(fresh=True) == {"a": 2, "items": [1]}
            assert list(lives.index()) == ["c1"]
            version = await conversation.version()
            assert await conversation.end()
            return version

    version = asyncio.run(scenario())
    lives.nothing_left()
    assert [(row.version, row.reason) for row in lives.rows()] == [(version, "ended")]


@pytest.mark.parametrize("step", CLOSING)
@pytest.mark.parametrize("how", ["delete", "erase", "end"])
def test_what_is_done_while_a_conversation_is_found_to_be_abandoned_holds(lives: Lives, step: str, how: str) -> None:
    async def scenario() -> None:
        async with opened(lives, idle=2.0) as store, opened(lives) as other:
            await silent(lives, other, 2.0)

            async def act() -> None:
                conversation, customer = other.conversation("c1"), other.customer("cust")
                await {"delete": conversation.delete, "erase": customer.erase, "end": conversation.end}[how]()

            await Interrupted(store, step, act).sweep()
            await Sweeper(store).sweep()

    asyncio.run(scenario())
    expected = "abandoned" if step == "conversation_collect" else "ended"
    assert [row.reason for row in lives.rows()] == ([expected] if how == "end" else [])
    assert not any(name[:1] == b"s" for name in lives.record("c1"))


def test_what_was_deleted_before_a_new_life_goes_also_if_the_archiver_fails_when_that_has_left(lives: Lives) -> None:
    async def fail() -> None:
        raise errors.ArchiveError("The archive's disk is full", path="", reason="full")

    async def scenario() -> None:
        async with opened(lives) as store:
            await ended(store)
            await Sweeper(store).sweep()
            with SqlArchive(lives.path) as archive:
                (row,) = archive.lives("c1")
                archive.put([replace(row, created_us=row.created_us - 1)])  # an older life
            conversation = store.conversation("c1")
            assert await conversation.resume()
            assert await conversation.delete()
            await conversation.state.set("b", 1)
            await conversation.end()
            with pytest.raises(errors.ArchiveError):
                await Interrupted(store, "conversation_archived", fail).sweep()

    asyncio.run(scenario())
    lives.sweep()
    assert [row.state for row in lives.rows()] == ['{"b":1}']


def test_a_server_that_has_forgotten_its_scripts_is_swept_at_once(lives: Lives) -> None:
    async def scenario() -> int:
        async with opened(lives, idle=0.1) as store:
            for number in range(40):
                await store.conversation(f"c{number}").state.set("a", 1)
            for key in lives.raw.scan_iter(f"{lives.prefix}:{{due:*"):
                for name in lives.raw.zrange(key, 0, -1):
                    lives.raw.zadd(key, {name: 1})
            await asyncio.sleep(0.1)  # the idle time is over
            lives.raw.script_flush()
            return await Sweeper(store).sweep()

    assert asyncio.run(scenario()) == 40


def test_many_return_while_archivers_are_at_it_and_none_is_lost(lives: Lives) -> None:
    names = [f"c{number}" for number in range(200)]

    async def scenario() -> dict[str, int]:
        async with opened(lives) as store, opened(lives) as other:
            for name in names:  # one after the other, as they are of one customer
                await ended(store, name)
            sweepers = [Sweeper(store, batch=7), Sweeper(other, batch=11)]
            back = [other.conversation(name).resume() for name in names]
            _, _, *returned = await asyncio.gather(*(each.sweep() for each in sweepers), *back)
            assert returned == [True] * len(names)
            for name in names:
                assert await store.conversation(name).state.all() == {"a": 1, "items": [1]}
            assert set(lives.index()) == set(names)
            await asyncio.gather(*(store.conversation(name).state.set("a", 2) for name in names))
            versions = {name: await store.conversation(name).version() for name in names}
            for name in names:
                assert await store.conversation(name).end()
            return versions

    versions = asyncio.run(scenario())
    lives.nothing_left()
    assert {row.conversation_id: row.version for row in lives.rows()} == versions
    assert len(lives.rows()) == len(names)


@given(
    st.lists(
        st.tuples(st.sampled_from(["write", "end", "resume", "sweep", "delete", "fade"]), st.booleans()), max_size=12
    )
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_sequence_ends_as_a_simple_model_says(lives: Lives, steps: list[tuple[str, bool]]) -> None:
    lives.raw.delete(*(lives.keys() or {"none"}))
    with SqlArchive(lives.path) as archive:
        archive.delete("c1")
    asyncio.run(_followed(lives, steps))


async def _followed(lives: Lives, steps: list[tuple[str, bool]]) -> None:
    # Or "live", "ended", "tombstone", "archived", "erased", "deleted"; state 0 is none.
    state, where = 0, "absent"
    async with opened(lives) as one, opened(lives) as two:
        sweeper = Sweeper(one)
        for verb, first in steps:
            conversation = (one if first else two).conversation("c1")
            if verb == "write" and where in ("absent", "live", "deleted"):
                state, where = await conversation.state.increment("n"), "live"
            elif verb == "write":
                with pytest.raises(errors.ConversationEnded):
                    await conversation.state.increment("n")
            elif verb == "end":
                assert await conversation.end() == (where == "live")
                where = "ended" if where == "live" else where
            elif verb == "resume":
                found = await conversation.resume()
                assert found == (where not in ("absent", "erased", "deleted"))
                where = "live" if found else where
            elif verb == "sweep":
                await sweeper.sweep()
                where = "tombstone" if where == "ended" else where
            elif verb == "fade" and where in ("tombstone", "archived"):
                # The tombstone's time is over.
                lives.raw.delete(conversation.key)
                where = "archived"
            elif verb == "delete" and where != "absent":
                assert await conversation.delete() == (where in ("live", "ended"))
                await sweeper.sweep()
                state, where = 0, "deleted" if where in ("live", "deleted") else "erased"
            expected = {"n": state} if state else {}
            assert await (two if first else one).load_state("c1") == expected
        _check_end(lives, state, where)


def _check_end(lives: Lives, state: int, where: str) -> None:
    rows: list[ArchiveRow] = lives.rows()
    if where in ("absent", "erased", "deleted", "tombstone", "archived"):
        assert len(rows) == (where in ("tombstone", "archived"))
    assert len(rows) <= 1
    if where in ("live", "ended"):
        assert list(lives.index()) == ["c1"]
        assert lives.record("c1")[b"sn"] == b"%d" % state
