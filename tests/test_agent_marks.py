"""The marks of hooks in the store, and the agent's own threads: who claims, who is through, who was forked."""

import asyncio
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from agent_serving import field_of, set_field, stores

from redstate import Store
from redstate.calls import ownership
from redstate.conversimple import StatefulAgent
from redstate.conversimple._claims import HookClaims
from redstate.conversimple._stores import Stores
from redstate.errors import CorruptState
from redstate.testing import LocalPlatform


def claims_of(opened: dict[str, Any], agent_name: str = "shop", lease: float = 60.0, token: int = 0) -> HookClaims:
    """The claims of an agent that owns every conversation under ``token``; 0 is one that owns none."""
    return HookClaims(Stores(**opened), agent_name, lease, lambda conversation_id: token)


async def claimed(store: Store, owner: str, gone: str = "") -> int:
    """Make "c1" an owner's, as an agent does before it serves it. Returns the token."""
    record = store.conversation("c1")._record
    return (await asyncio.to_thread(record.ask, ownership.claim(record.key, 60_000, owner, gone=gone))).token


def test_a_claim_is_known_again_by_who_made_it_and_by_nobody_else(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with stores(url, prefix) as opened:
            first, second = [claims_of(opened) for _ in range(2)]
            # As after a claim whose answer was lost.
            assert await first.claim("ended", "c1") is True
            assert await first.claim("ended", "c1") is True
            second.leave()
            assert await second.claim("ended", "c1") is None
            other_kind = claims_of(opened, "another")
            assert await other_kind.claim("ended", "c1") is True
            await first.done("ended", "c1")
            assert await second.claim("ended", "c1") is False
            assert await first.claim("ended", "c1") is False

    asyncio.run(scenario())


def test_a_lease_that_ran_out_goes_to_the_next(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with stores(url, prefix) as opened:
            gone, next_one = [claims_of(opened, lease=0.05) for _ in range(2)]
            assert await gone.claim("started", "c1") is True
            # It asks again and again for as long as another one has the lease.
            assert await next_one.claim("started", "c1") is True

    asyncio.run(scenario())


@pytest.mark.parametrize("colours", [("store",), ("async_store",), ("store", "async_store")])
def test_marks_of_hooks_are_no_content_and_outlive_the_content(url: str, prefix: str, colours: tuple[str, ...]) -> None:
    async def scenario() -> None:
        async with stores(url, prefix) as opened:
            given = {colour: opened.get(colour) if colour in colours else None for colour in opened}
            claims, conversation = claims_of(given), opened["store"].conversation("c1")
            assert await claims.claim("started", "c1") is True
            assert (conversation.exists(), conversation.version()) == (False, 0)
            # What is conditional on there being nothing yet can still be written.
            version = conversation.state.set("a", 1, expected_version=0)
            await claims.done("started", "c1")
            assert await claims.claim("ended", "c1") is True
            assert conversation.version() == version
            conversation.delete()
            await claims.done("ended", "c1")
            assert not conversation.exists()
            for hook in ("started", "ended"):
                assert await claims.claim(hook, "c1") is False

    asyncio.run(scenario())


def test_what_lives_longer_than_the_store_says_is_not_cut_by_a_mark(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with stores(url, prefix) as opened:
            claims, conversation = claims_of(opened), opened["store"].conversation("c1")
            opened["store"].save_state("c1", {"a": 1}, ttl=10_000_000.0)
            assert await claims.claim("ended", "c1") is True
            await claims.done("ended", "c1")
            assert (conversation.ttl() or 0) > 9_000_000
            opened["store"].save_state("c1", {"a": 1}, ttl=100.0)
            assert await claims.claim("another", "c1") is True
            assert (conversation.ttl() or 0) > 1000

    asyncio.run(scenario())


def test_who_lost_a_hook_cannot_report_it_as_done(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with stores(url, prefix) as opened:
            loser, winner, third = [claims_of(opened, lease=lease) for lease in (0.05, 60.0, 60.0)]
            assert await loser.claim("started", "c1") is True
            assert await winner.claim("started", "c1") is True
            await loser.done("started", "c1")
            third.leave()
            assert await third.claim("started", "c1") is None
            await winner.done("started", "c1")
            assert await third.claim("started", "c1") is False

    asyncio.run(scenario())


def test_the_owner_of_a_conversation_waits_for_no_lease_of_an_earlier_one(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with stores(url, prefix) as opened:
            before = claims_of(opened, token=await claimed(opened["store"], "before"))
            assert await before.claim("started", "c1") is True
            after = claims_of(opened, token=await claimed(opened["store"], "after", gone="before"))
            async with asyncio.timeout(20):  # of the sixty seconds that the other one has the hook
                assert await after.claim("started", "c1") is True
            # What the earlier owner still says is no word any more.
            await before.done("started", "c1")
            assert await before.claim("started", "c1") is None
            assert await after.claim("started", "c1") is True
            await after.done("started", "c1")
            assert await after.claim("started", "c1") is False

    asyncio.run(scenario())


def test_a_hook_is_none_of_the_business_of_who_lost_the_conversation(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with stores(url, prefix) as opened:
            before = claims_of(opened, token=await claimed(opened["store"], "before"))
            await claimed(opened["store"], "after", gone="before")
            assert await before.claim("started", "c1") is None
            assert await field_of(opened["store"], "hshop:started") is None

    asyncio.run(scenario())


@pytest.mark.parametrize("mark", ["zzz", "", "9", f"{'1' * 16} ", f"{'1' * 15}x ab", f"{'1' * 17} ab"])
def test_a_mark_that_is_none_is_said_to_be_corrupt_and_left_alone(url: str, prefix: str, mark: str) -> None:
    async def scenario() -> None:
        async with stores(url, prefix) as opened:
            claims = claims_of(opened)
            await set_field(opened["store"], "hshop:started", mark)
            for attempt in (claims.claim, claims.done):
                with pytest.raises(CorruptState) as refusal:
                    await attempt("started", "c1")
                assert refusal.value.field == "hshop:started"
            assert await field_of(opened["store"], "hshop:started") == mark.encode()

    asyncio.run(scenario())


def test_a_lease_that_ends_later_than_it_can_has_ended(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with stores(url, prefix) as opened:
            # As when the server's clock was set back.
            await set_field(opened["store"], "hshop:started", f"{'8' * 16} {'a' * 32}")
            async with asyncio.timeout(20):
                assert await claims_of(opened).claim("started", "c1") is True

    asyncio.run(scenario())


def test_claims_on_a_sync_store_do_not_wait_for_the_threads_of_sync_tools(url: str, prefix: str) -> None:
    async def scenario() -> None:
        busy = threading.Event()
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        async with stores(url, prefix) as opened, LocalPlatform() as platform:
            agent = StatefulAgent(api_key="key", platform_url=platform.url, store=opened["store"])
            tool = asyncio.create_task(asyncio.to_thread(busy.wait))
            try:
                await agent.start()
                async with asyncio.timeout(20):
                    assert await agent._lifecycle._claims.claim("ended", "c1") is True
                    await agent._stores.merge("c1")
                    await agent._lifecycle._claims.done("ended", "c1")
                    assert await agent._lifecycle._claims.claim("ended", "c1") is False
                own = [one for one in threading.enumerate() if one.name.startswith("redstate-agent")]
                assert 1 <= len(own) <= 2
            finally:
                busy.set()
                await tool
                await agent.stop()
            for thread in own:
                thread.join(20)
                assert not thread.is_alive()

    asyncio.run(scenario())


FORKING = """
import asyncio, os
from redstate.conversimple import _log, _stores
from redstate.conversimple._claims import HookClaims

claims = HookClaims(_stores.Stores(None, None), "shop", 60.0, lambda conversation_id: 0)
claims.leave()
parent = claims._claimant("c1")
with _log._setup.lock, _stores.shared._lock:
    pid = os.fork()
    if pid == 0:
        fresh = claims._claimant("c1") != parent and not claims._leaving.is_set()
        free = not _log._setup.lock.locked() and not _stores.shared._lock.locked()
        os._exit(0 if fresh and free else 1)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
assert claims._claimant("c1") == parent
"""


def test_a_forked_process_claims_for_itself_and_waits_for_no_lock_of_its_parent() -> None:
    subprocess.run([sys.executable, "-c", FORKING], check=True, timeout=60)
