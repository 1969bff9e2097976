"""A server without memory left ends and archives what it holds, customers included, and so has room again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import servers

from redstate import AsyncStore, Store, errors
from redstate.archive.sweeper import Sweeper


def test_conversations_of_customers_leave_a_full_server(tmp_path: Path) -> None:
    archive = str(tmp_path / "archive.db")
    with (
        servers.server() as running,
        Store.from_url(running.url, archive=archive, max_staleness=0) as store,
    ):
        for number in range(20):
            store.conversation(f"c{number}", customer_id="cust").state.set("a", "x" * 10_000)
        servers.fill(running)
        with pytest.raises(errors.StoreFull):
            store.conversation("new").state.set("a", 1)
        for number in range(20):
            assert store.conversation(f"c{number}", customer_id="cust").end()

        async def sweep() -> int:
            async with AsyncStore.from_url(running.url, archive=archive, max_staleness=0) as swept:
                return await Sweeper(swept).sweep()

        assert asyncio.run(sweep()) == 20
        assert len(store.customer("cust").conversations(100)) == 20


def test_a_full_server_deletes_and_erases(tmp_path: Path) -> None:
    with (
        servers.server() as running,
        Store.from_url(running.url, archive=tmp_path / "archive.db", max_staleness=0) as store,
    ):
        for name in ("going-on", "ended", "of-cust"):
            store.conversation(name, customer_id="cust" if name == "of-cust" else None).state.set("a", 1)
        store.conversation("ended").end()
        customer = store.customer("cust")
        for number in range(100):
            customer.increment("points", op_id=f"operation-{number}")
        servers.fill(running)
        with pytest.raises(errors.StoreFull):
            store.conversation("new").state.set("a", 1)
        assert store.conversation("going-on").delete()
        assert store.conversation("ended").delete()
        erased = customer.erase()
        assert (erased.profile, erased.conversations) == (True, ("of-cust",))
        assert customer.all() == {}
