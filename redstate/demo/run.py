"""The demo from start to end: platform, workers, conversations, and the check of the books."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import IO, Any, TypeVar

from redstate import AsyncStore
from redstate.conversimple.runner import Observer, RunnerSettings, Supervisor
from redstate.demo import facts as run_facts
from redstate.demo.display import Display
from redstate.demo.drive import Driver, Tally
from redstate.demo.errors import DemoFailed
from redstate.demo.facts import KEY_PREFIX, Facts
from redstate.demo.plan import ConversationPlan, make_plan
from redstate.demo.trouble import Trouble
from redstate.demo.verify import Books, verify
from redstate.errors import ConfigurationError, MissingExtra, StoreError
from redstate.testing import LocalPlatform, PlatformTimeout

_TTL = 86_400.0  # seconds that a kept run can be verified
_START_TIMEOUT = 60.0  # seconds until workers that have not joined are given up
_LAST_WORDS = 2_000  # bytes of what the workers wrote that are shown

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """How a demo runs.

    Attributes:
        conversations: how many there are in all.
        concurrency: how many are held at a time.
        workers: how many processes serve them.
        seed: the same seed gives the same conversations.
        timeout: seconds that the answer to a tool call may take.
        trouble: whether a worker is killed and another is replaced meanwhile.
    """

    conversations: int = 200
    concurrency: int = 40
    workers: int = 4
    seed: int = 1
    timeout: float = 30.0
    trouble: bool = True


@dataclass(frozen=True, slots=True)
class _Run:
    options: DemoOptions
    display: Display


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
    plans = list(make_plan(run, options.seed, options.conversations))
    async with AsyncStore.from_url(url, key_prefix=key_prefix, ttl=_TTL) as store:
        await check_server(store)
        try:
            trouble = Trouble(display, len(plans))
            async with _workers(url, key_prefix, options, display, trouble.observe) as (platform, supervisor):
                display.conversations(len(plans), sum(len(plan.calls) for plan in plans))
                began = time.perf_counter()
                tally = await _drive(platform, supervisor, trouble, plans, _Run(options, display))
                seconds = time.perf_counter() - began
            display.phase("Reading everything back from the server")
            facts = _facts(run, options, tally, trouble, seconds)
            versions = [tally.versions[plan.id] for plan in plans]
            await run_facts.save(store, facts, versions, latest=keep)
            return await verify(store, run)
        finally:
            if not keep:
                await finish(run_facts.remove(store, run, [plan.id for plan in plans]))


async def finish(work: Coroutine[Any, Any, T]) -> T:
    """Do ``work`` to its end, also when the caller is cancelled meanwhile: for cleaning up."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


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
    url: str, key_prefix: str, options: DemoOptions, display: Display, observer: Observer
) -> AsyncIterator[tuple[LocalPlatform, Supervisor]]:
    api_key = secrets.token_urlsafe(16)
    async with AsyncExitStack() as stack:
        platform = await stack.enter_async_context(LocalPlatform(auth_token=api_key))
        words = stack.enter_context(_temporary_file())
        display.phase(f"Starting {options.workers} worker processes")
        settings = RunnerSettings(
            api_key=api_key,
            classes=("redstate.demo.shop:Shop",),
            workers=options.workers,
            url=url,
            platform_url=platform.url,
            customer_id="demo",
            environment={"REDSTATE_KEY_PREFIX": key_prefix, "REDSTATE_TTL": str(_TTL)},
            log_level="WARNING",
            output=words.fileno(),
        )
        supervisor = Supervisor(settings, observer)
        try:
            async with asyncio.timeout(_START_TIMEOUT):
                await stack.enter_async_context(supervisor)
                await platform.wait_for_agents(options.workers, timeout=_START_TIMEOUT)
        except (TimeoutError, PlatformTimeout) as error:
            raise DemoFailed(f"the workers did not start in time; their last words:\n{_last(words)}") from error
        try:
            yield platform, supervisor
        except DemoFailed as error:
            raise DemoFailed(f"{error}; the workers' last words:\n{_last(words)}") from error


@contextmanager
def _temporary_file() -> Iterator[IO[bytes]]:
    with tempfile.TemporaryFile() as file:
        yield file


def _last(words: IO[bytes]) -> str:
    size = words.seek(0, 2)
    words.seek(max(0, size - _LAST_WORDS))
    return words.read().decode("utf-8", "replace").strip()


async def _drive(
    platform: LocalPlatform, supervisor: Supervisor, trouble: Trouble, plans: list[ConversationPlan], run: _Run
) -> Tally:
    """Hold the conversations, with trouble if that is wanted."""

    def progress(tally: Tally) -> None:
        trouble.progress(tally.finished, tally.served)
        run.display.progress(tally)

    driver = Driver(platform, run.options.timeout, progress)
    making = asyncio.ensure_future(trouble.make(supervisor)) if run.options.trouble else None
    try:
        await driver.drive(iter(plans), run.options.concurrency)
        if making is not None:
            await making
    finally:
        if making is not None:
            making.cancel()
            await asyncio.gather(making, return_exceptions=True)
        trouble.end()
    return driver.tally


def _facts(run: str, options: DemoOptions, tally: Tally, trouble: Trouble, seconds: float) -> Facts:
    return Facts(
        run=run,
        seed=options.seed,
        conversations=options.conversations,
        workers=options.workers,
        concurrency=options.concurrency,
        answered=len(tally.latencies),
        delivered_twice=tally.delivered_twice,
        killed=trouble.killed,
        replaced=trouble.replaced,
        taken_over=trouble.taken_over,
        seconds=round(seconds, 3),
        p50_ms=round(tally.percentile(0.50), 2),
        p99_ms=round(tally.percentile(0.99), 2),
        observed=tally.observed[:100],
    )
