"""The demo from start to end: platform, workers, conversations, and the check of the books."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec

from redstate import AsyncStore
from redstate.demo import facts as run_facts
from redstate.demo.display import Display
from redstate.demo.drive import Driver, Tally
from redstate.demo.facts import KEY_PREFIX, Facts
from redstate.demo.plan import make_plan
from redstate.demo.pool import DemoFailed, WorkerPool, WorkerSettings, finish
from redstate.demo.verify import Books, verify
from redstate.errors import ConfigurationError, MissingExtra, StoreError
from redstate.testing import JoinedAgent, LocalPlatform, PlatformTimeout

_TTL = 86_400.0  # seconds that a kept run can be verified
_START_TIMEOUT = 60.0  # seconds until workers that have not joined are given up


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """How a demo runs.

    Attributes:
        conversations: how many there are in all.
        concurrency: how many are held at a time.
        workers: how many processes serve them.
        seed: the same seed gives the same conversations.
        timeout: seconds that the answer to a tool call may take.
    """

    conversations: int = 200
    concurrency: int = 40
    workers: int = 4
    seed: int = 1
    timeout: float = 30.0


async def run_demo(
    url: str, options: DemoOptions, display: Display, *, keep: bool = False, key_prefix: str = KEY_PREFIX
) -> tuple[Facts, Books]:
    """Run the demo on a server, and check its books there.

    Args:
        url: the server.
        options: how.
        display: is told what goes on.
        keep: leave the run's data on the server for a later check; else it is deleted in any case.
        key_prefix: what the run's keys begin with.

    Returns:
        The facts of the run and its books, both read back from the server.

    Raises:
        ConfigurationError: the server cannot be used.
        DemoFailed: the demo could not be brought to its end.
    """
    _require_sdk()
    run = secrets.token_hex(4)
    plans = list(make_plan(run, options.seed, options.conversations, options.workers))
    async with AsyncStore.from_url(url, key_prefix=key_prefix, ttl=_TTL) as store:
        await check_server(store)
        try:
            async with _workers(url, key_prefix, options, display) as (platform, agents, pool):
                display.conversations(len(plans), sum(len(plan.calls) for plan in plans))
                driver = Driver(platform, agents, options.timeout, display.progress)
                began = time.perf_counter()
                await pool.watch(driver.drive(iter(plans), options.concurrency))
                seconds = time.perf_counter() - began
            display.phase("Reading everything back from the server")
            facts = _facts(run, options, driver.tally, seconds)
            versions = [driver.tally.versions[plan.id] for plan in plans]
            await run_facts.save(store, facts, versions, latest=keep)
            return await verify(store, run)
        finally:
            if not keep:
                await finish(run_facts.remove(store, run, [plan.id for plan in plans]))


async def check_server(store: AsyncStore) -> None:
    """Refuse a server that cannot be used before anything is started.

    Raises:
        ConfigurationError: it cannot be reached, or why it refuses.
    """
    try:
        await store.ping()
    except StoreError as error:
        raise ConfigurationError(error.message, next_step=error.next_step) from error


def _require_sdk() -> None:
    # Found out here, in one line, rather than from the last words of a worker.
    if find_spec("conversimple") is None:
        raise MissingExtra(
            "The demo needs conversimple-sdk, which is not installed",
            next_step='Install it with: pip install "redstate[conversimple]"',
            extra="conversimple",
        )


@asynccontextmanager
async def _workers(
    url: str, key_prefix: str, options: DemoOptions, display: Display
) -> AsyncIterator[tuple[LocalPlatform, tuple[JoinedAgent, ...], WorkerPool]]:
    api_key = secrets.token_urlsafe(16)
    async with AsyncExitStack() as stack:
        platform = await stack.enter_async_context(LocalPlatform(auth_token=api_key))
        display.phase(f"Starting {options.workers} worker processes")
        settings = [
            WorkerSettings(number, url, key_prefix, _TTL, platform.url, api_key)
            for number in range(1, options.workers + 1)
        ]
        pool = await stack.enter_async_context(WorkerPool(settings))
        try:
            agents = await pool.watch(platform.wait_for_agents(options.workers, timeout=_START_TIMEOUT))
        except PlatformTimeout as error:
            raise DemoFailed(f"the workers did not start in time: {error}") from error
        yield platform, agents, pool


def _facts(run: str, options: DemoOptions, tally: Tally, seconds: float) -> Facts:
    return Facts(
        run=run,
        seed=options.seed,
        conversations=options.conversations,
        workers=options.workers,
        concurrency=options.concurrency,
        answered=len(tally.latencies),
        delivered_twice=tally.delivered_twice,
        seconds=round(seconds, 3),
        p50_ms=round(tally.percentile(0.50), 2),
        p99_ms=round(tally.percentile(0.99), 2),
        observed=tally.observed[:100],
    )
