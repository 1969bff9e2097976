"""Unit tests of agents of your own: no server, no account, and what one test stores no other one sees.

Run them: python examples/unit_test.py      They need pytest and: pip install "redstate[testing]"
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from booking import BOOKING, Reception
from cart import Shop

from redstate import AsyncStore
from redstate.errors import StepRefused
from redstate.testing import LocalPlatform, fake_store


def test_a_workflow_can_be_tested_without_an_agent() -> None:
    with fake_store() as store:
        run = store.conversation("c").workflow(BOOKING)
        run.advance("collecting_dates")
        with pytest.raises(StepRefused) as refusal:
            run.advance("collecting_guests", check_in="2030-03-10")
        assert list(refusal.value.missing) == ["check_out"]


@asynccontextmanager
async def serving(agent_class: Any) -> AsyncIterator[LocalPlatform]:
    """The agent, on a fake store and a platform of this machine, in a conversation "c"."""
    with fake_store() as store:
        async with AsyncStore.from_url(f"redis://{store.address}") as async_store, LocalPlatform() as platform:
            agent = agent_class(api_key="any", platform_url=platform.url, store=store, async_store=async_store)
            await agent.start()
            await platform.start_conversation("c")
            try:
                yield platform
            finally:
                await agent.stop()


def test_a_sale_that_is_said_twice_is_one_order() -> None:
    async def scenario() -> None:
        async with serving(Shop) as platform:
            await platform.call("c", "add", {"sku": "tea", "quantity": 2})
            first = await platform.call("c", "buy", {"total": "8.20"})
            again = await platform.call("c", "buy", {"total": "8.20"})
            assert first.result == again.result == {"message": "Sold as c-1: 2 tea for 8.20 euros."}

    asyncio.run(scenario())


def test_nothing_is_booked_before_everything_is_known() -> None:
    async def scenario() -> None:
        async with serving(Reception) as platform:
            await platform.call("c", "start_booking")
            answer = await platform.call("c", "confirm")
            assert answer.result["error_type"] == "StepRefused"
            assert set(answer.result["missing"]) == {"check_in", "check_out"}

    asyncio.run(scenario())


if __name__ == "__main__":
    sys.exit(pytest.main([__file__, "-q", "-p", "no:cacheprovider"]))
