"""Tool calls that are delivered twice while workers die, stand still and lose replies: each runs once, all answered."""

from __future__ import annotations

from pathlib import Path

import pytest
from calls_soak.plan import Plan
from calls_soak.report import keep, show
from calls_soak.run import Outcome, soak

SHORT = Plan(calls=3_000, kills_apart=(1.0, 2.5), stops_apart=(0.5, 1.5))
LONG = Plan(calls=100_000, progress=5_000)
BROADCAST = Plan(
    calls=600, lost_replies=0, kills_apart=None, stops_apart=None, broadcast=True, conversations=40, calls_each=15
)


def good(outcome: Outcome) -> bool:
    """Whether nothing went wrong; fails the test with what did."""
    if outcome.problems:
        pytest.fail(outcome.problems, pytrace=False)
    return True


def test_each_tool_call_runs_once_whatever_happens_to_its_workers(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    outcome = soak(SHORT, tmp_path)
    with capfd.disabled():
        show("tool calls under faults", outcome.numbers)
    assert good(outcome)


def test_a_tool_call_that_all_workers_get_at_once_runs_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    outcome = soak(BROADCAST, tmp_path)
    with capfd.disabled():
        show("tool calls to all workers", outcome.numbers)
    assert good(outcome)
    assert sum(sum(call.sent_again.values()) for call in outcome.calls) >= 3 * len(outcome.calls)


@pytest.mark.chaos
@pytest.mark.timeout(3_000)
def test_each_of_a_hundred_thousand_tool_calls_runs_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with capfd.disabled():
        outcome = soak(LONG, tmp_path)
        show("tool calls under faults", outcome.numbers)
    keep("soak", outcome.numbers)
    assert good(outcome)
