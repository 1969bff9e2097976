"""How long a conversation has nobody when its worker is killed."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

import servers
from calls_soak.judge import judge
from calls_soak.ledger import Call, percentile
from calls_soak.plan import LEASE
from calls_soak.world import PREFIX, World, running

CONVERSATIONS = 64
SLOW = LEASE + 0.25  # seconds; kills whose conversations take longer are told of
_PATIENCE = 60.0


@dataclass
class TakeOvers:
    """What came of the kills.

    Attributes:
        kills: how many there were.
        resumed: for each conversation that lost its worker, the seconds from the kill until its hook ran in another.
        served: likewise, until the platform had the answer of a call that was made at the moment of the kill.
        slow: the kills whose conversations had nobody for longest, in words.
        problems: what went wrong, in words; "" in a good run.
    """

    kills: int
    resumed: list[float] = field(default_factory=list)
    served: list[float] = field(default_factory=list)
    slow: list[str] = field(default_factory=list)
    problems: str = ""

    @property
    def numbers(self) -> dict[str, float]:
        """What is told of it."""
        numbers: dict[str, float] = {"workers killed": self.kills, "conversations taken over": len(self.served)}
        for name, seconds in (("resumed", self.resumed), ("served", self.served)):
            shares = {"p50": 0.5, "p99": 0.99, "max": 1.0}
            numbers |= {f"{name} after, {one}": round(percentile(seconds, share), 3) for one, share in shares.items()}
        return numbers


def take_overs(kills: int, folder: Path, seed: int = 20_240) -> TakeOvers:
    """Kill workers that own conversations, one after another.

    Args:
        kills: how many.
        folder: for the workers' log.
        seed: of the choice of workers.
    """
    with servers.server() as server:
        return asyncio.run(_take_overs(kills, folder, server, random.Random(seed)))


async def _take_overs(kills: int, folder: Path, server: servers.RunningServer, chance: random.Random) -> TakeOvers:
    outcome, calls = TakeOvers(kills), list[Call]()
    conversations = [f"c{number}" for number in range(CONVERSATIONS)]
    killed: list[tuple[float, int, list[str]]] = []
    async with running(server, folder, proxied=False) as world:
        await asyncio.gather(*[world.platform.start_conversation(one) for one in conversations])
        for _ in range(kills):
            await world.all_ready()
            owners = await asyncio.gather(*[_where(world, calls, one) for one in conversations])
            pids = dict(zip(conversations, owners, strict=True))
            # Anywhere between two renewals of the lease.
            await asyncio.sleep(LEASE / 8 * chance.random())
            victim = chance.choice(sorted(set(pids.values())))
            orphans = [one for one, pid in pids.items() if pid == victim]
            at = time.monotonic()
            os.kill(victim, signal.SIGKILL)
            heirs = await asyncio.gather(*[_where(world, calls, one, since=(at, outcome.served)) for one in orphans])
            if victim in heirs:
                outcome.problems += f"worker {victim} answered after it was killed\n"
            killed.append((at, victim, orphans))
    resumed = [(conversation_id, float(at), int(pid)) for conversation_id, at, pid in world.notes("resumed")]
    for at, victim, orphans in killed:
        first = {one: when - at for one, when, pid in reversed(resumed) if when > at and pid != victim}
        after = [first[one] for one in orphans]
        outcome.resumed += after
        if max(after) > SLOW:
            outcome.slow.append(
                f"kill at {at:.3f} of worker {victim}: {len(after)} conversations in {max(after):.3f} s"
            )
    outcome.problems += judge(server.url, PREFIX, calls, world.platform.responses).told(world)
    return outcome


async def _where(
    world: World, calls: list[Call], conversation_id: str, since: tuple[float, list[float]] | None = None
) -> int:
    """The process that serves a conversation; adds the time until it has answered to a list."""
    call = Call(conversation_id, f"call-{len(calls)}", "where", "nobody")
    calls.append(call)
    answer = await world.platform.call(
        conversation_id,
        "where",
        {"mark": call.mark, "customer": call.customer},
        call_id=call.call_id,
        tool_timeout=_PATIENCE,
        timeout=_PATIENCE,
    )
    if since is not None:
        at, served = since
        served.append(time.monotonic() - at)
    call.seconds, call.result = answer.seconds, answer.result
    return int(answer.result["pid"])
