"""What a run leaves in the server besides its conversations: enough to plan it again and to check it without the run.

Everything lies under a key prefix of the demo's own, so it never touches other data on the server:
the conversation ``demo`` names the latest complete run, ``demo:<run>`` holds the facts of one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from redstate import AsyncStore
from redstate.errors import ConfigurationError

KEY_PREFIX = "redstate-demo"
_INDEX = "demo"
_FORMAT = 2
# The versions are kept in pieces, as a single value has a cap on its size.
_PIECE = 1_000
_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Facts:
    """One run.

    Attributes:
        run: its id.
        seed, conversations, workers, concurrency: what it was started with.
        answered: how many tool calls were answered; those delivered twice count once.
        delivered_twice: how many calls were delivered to a second process after the first had answered.
        killed, replaced: how many workers were killed meanwhile, and how many were replaced in order.
        taken_over: how many conversations went from one worker to another because of that.
        seconds: how long the conversations took together.
        p50_ms, p99_ms: percentiles of a tool call, from request to answer, in milliseconds.
        observed: what already went against the plan while it ran.
    """

    run: str
    seed: int
    conversations: int
    workers: int
    concurrency: int
    answered: int
    delivered_twice: int
    killed: int
    replaced: int
    taken_over: int
    seconds: float
    p50_ms: float
    p99_ms: float
    observed: list[str]


async def save(store: AsyncStore, facts: Facts, versions: list[int], *, latest: bool = True) -> None:
    """Keep the facts of a run, and for each conversation the version that its last answer named.

    Args:
        latest: whether the run is the one that ``load`` finds when none is named; not one that is deleted in a moment.
    """
    record = store.conversation(_facts_id(facts.run))
    for piece, start in enumerate(range(0, len(versions), _PIECE)):
        await record.state.set(f"versions.{piece}", versions[start : start + _PIECE])
    await record.state.update(format=_FORMAT, facts=asdict(facts))
    if latest:
        await store.conversation(_INDEX).state.set("latest", facts.run)


async def load(store: AsyncStore, run: str | None = None) -> tuple[Facts, list[int]]:
    """Find a run; the latest that was kept where none is named.

    Raises:
        ConfigurationError: the server holds no run that this version can check.
    """
    run = run or await store.conversation(_INDEX).state.get("latest")
    state: dict[str, Any] = {}
    if isinstance(run, str):
        state = await store.conversation(_facts_id(run)).state.all()
    if not state:
        raise ConfigurationError(
            f"There is no demo run on {store.address}", next_step="Start one with: redstate demo --keep"
        )
    if state.get("format") != _FORMAT:
        raise ConfigurationError(f"Run {run} on {store.address} was made by another version of redstate")
    try:
        facts = Facts(**state["facts"])
        pieces = range((facts.conversations + _PIECE - 1) // _PIECE)
        versions = [version for piece in pieces for version in state[f"versions.{piece}"]]
    except (KeyError, TypeError):
        versions = []
    if not versions or len(versions) != facts.conversations:
        raise ConfigurationError(f"The facts of run {run} on {store.address} are damaged")
    return facts, versions


async def remove(store: AsyncStore, run: str, conversations: Iterable[str]) -> None:
    """Delete a run."""
    ids = [*conversations, _facts_id(run)]
    for start in range(0, len(ids), _AT_ONCE):
        await asyncio.gather(*[store.conversation(one).delete() for one in ids[start : start + _AT_ONCE]])


def _facts_id(run: str) -> str:
    return f"demo:{run}"
