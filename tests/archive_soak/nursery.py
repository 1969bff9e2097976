"""Has one process after another of a kind, and sees to the end of each: nursery.py KIND URL ARCHIVE NAME FOLDER.

They are forked here, where everything is imported already: hundreds of them come and go. The plan is in PLAN, and the
first line of the standard input says until when (of ``time.time``).
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from archive_soak import sweeping, talker
from archive_soak.plan import LEASE, Plan

_TICK = 0.01
KILLED, STOPPED = "killed at random", "stopped beyond its lease"


class _Child:
    """A process of ours."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.pid = os.fork()
        if self.pid == 0:
            # Nothing of the parent's end is for the child.
            code = 1
            try:
                work()
                code = 0
            finally:
                sys.stderr.flush()
                os._exit(code)
        self.status: int | None = None

    def ended(self, within: float) -> bool:
        """Whether it has ended, or does in so many seconds."""
        until = time.monotonic() + within
        while self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = status
            elif time.monotonic() > until:
                return False
            else:
                time.sleep(_TICK)
        return True

    @property
    def was_killed(self) -> bool:
        return self.status is not None and os.WIFSIGNALED(self.status) and os.WTERMSIG(self.status) == signal.SIGKILL

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self.ended(60.0)


def _sweepers(chance: random.Random, until: float, work: Callable[[], None]) -> Counter[str]:
    """Sweepers that die at each step in turn, at random, and after they stood still; the last drains what is left."""
    done: Counter[str] = Counter()
    steps: list[str] = []
    while time.time() < until:
        if not steps:
            steps = [*sweeping.STEPS, KILLED, STOPPED, *[KILLED] * 3]
            chance.shuffle(steps)
        step = steps.pop()
        os.environ[sweeping.FAILPOINT] = f"{step} {chance.choice((1, 1, 2, 5))}" if step in sweeping.STEPS else ""
        child = _Child(work)
        if step == STOPPED and not child.ended(chance.uniform(0.2, 0.8)):
            os.kill(child.pid, signal.SIGSTOP)
            time.sleep(LEASE + chance.uniform(0.2, 0.8))
            os.kill(child.pid, signal.SIGCONT)
            done[STOPPED] += 1
        if not child.ended(chance.uniform(0.1, 1.2) if step in (KILLED, STOPPED) else 2.0):
            child.kill()
            done[KILLED] += 1
        elif child.was_killed:
            done[f"killed at {step!r}"] += 1
        else:
            done["ended by itself"] += 1
    os.environ[sweeping.FAILPOINT] = ""
    last = _Child(work)
    sys.stdin.read()
    os.kill(last.pid, signal.SIGTERM)
    if not last.ended(30.0):
        last.kill()
        done["did not stop"] += 1
    return done


def _talkers(chance: random.Random, until: float, plan: Plan, work: Callable[[int], None]) -> Counter[str]:
    done: Counter[str] = Counter()
    number = 0
    while time.time() < until:
        number += 1
        child = _Child(functools.partial(work, number))
        left = until - time.time()
        apart = chance.uniform(*plan.talker_kills_apart)
        if apart >= left:
            if not child.ended(left + 60.0):
                child.kill()
                done["did not stop"] += 1
        elif child.ended(apart):
            done["ended by itself"] += 1
        else:
            child.kill()
            done[KILLED] += 1
        if not child.was_killed and child.status:
            done["ended by itself"] += 1
    return done


def main() -> None:
    kind, url, archive, name, folder = sys.argv[1:6]
    plan = Plan.from_json(os.environ["PLAN"])
    chance = random.Random(f"{plan.seed} {kind} {name}")
    print("ready", flush=True)
    until = float(sys.stdin.readline())
    if kind == "sweeper":
        found = _sweepers(chance, until, lambda: asyncio.run(sweeping.main(url, archive)))
    else:

        def talk(number: int) -> None:
            asyncio.run(talker.main(url, archive, plan, f"{name}.{number}", Path(folder), until))

        found = _talkers(chance, until, plan, talk)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
