"""One run of the soak of tool calls, and what it came to."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

import servers
from calls_soak.judge import Verdict, judge
from calls_soak.ledger import Call, percentile
from calls_soak.load import Load
from calls_soak.plan import Plan
from calls_soak.trouble import Trouble
from calls_soak.world import PREFIX, running


@dataclass
class Outcome:
    """What a run came to.

    Attributes:
        plan: what was run.
        seconds: how long it took, start and end of the workers not counted.
        calls: all of them.
        verdict: of the judge.
        faults: how many there were, by kind.
        problems: what went wrong, in words; "" in a good run.
    """

    plan: Plan
    seconds: float
    calls: list[Call]
    verdict: Verdict
    faults: dict[str, int]
    problems: str

    @property
    def numbers(self) -> dict[str, float]:
        """What is told of it."""
        seconds = [call.seconds for call in self.calls if call.seconds is not None]
        return {
            "calls": len(self.calls),
            "conversations": len({call.conversation_id for call in self.calls}),
            "seconds": round(self.seconds, 1),
            "redelivered while running": sum(call.sent_again["running"] for call in self.calls),
            "redelivered after the answer": sum(call.sent_again["answered"] for call in self.calls),
            **self.faults,
            "p50 of a call": round(percentile(seconds, 0.5), 4),
            "p99 of a call": round(percentile(seconds, 0.99), 4),
            "slowest call": round(max(seconds), 4),
            **self.verdict.counts,
        }


def soak(plan: Plan, folder: Path) -> Outcome:
    """Run all calls of the plan.

    Args:
        plan: how many, and what goes wrong meanwhile.
        folder: for the workers' log.
    """
    with servers.server() as server:
        return asyncio.run(_soak(plan, folder, server))


async def _soak(plan: Plan, folder: Path, server: servers.RunningServer) -> Outcome:
    async with running(server, folder) as world:
        load, trouble = Load(world, plan), Trouble(world, plan)
        began = time.monotonic()
        async with trouble.made():
            await load.run()
        seconds = time.monotonic() - began
        swallowed = world.proxy.stats.swallowed
    verdict = judge(server.url, PREFIX, load.calls, world.platform.responses)
    faults = {
        "workers killed": trouble.kills,
        "workers stopped beyond their lease": trouble.stops,
        "lost replies": swallowed,
        "conversations taken over": world.events["took_over"],
        "calls begun again by another worker": sum(times > 1 for times in world.notes("runs").values()),
        "conversations lost by a worker that stood still": world.events["fenced"],
    }
    problems = verdict.told(world)
    problems += "".join(f"\nthere were no {kind}" for kind, count in faults.items() if not count and not plan.broadcast)
    return Outcome(plan, seconds, load.calls, verdict, faults, problems)
