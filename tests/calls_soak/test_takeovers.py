"""Workers that are killed: how soon others have their conversations."""

from __future__ import annotations

from pathlib import Path

import pytest
from calls_soak.ledger import percentile
from calls_soak.plan import LEASE
from calls_soak.report import keep, show
from calls_soak.takeovers import TakeOvers, take_overs

_AT_MOST = LEASE + 0.5


def good(outcome: TakeOvers) -> bool:
    """Whether nothing went wrong; fails the test with what did."""
    if outcome.problems:
        pytest.fail(outcome.problems, pytrace=False)
    for seconds in (outcome.resumed, outcome.served):
        assert percentile(seconds, 0.99) <= _AT_MOST, outcome.slow
    return True


def test_conversations_of_a_killed_worker_are_soon_served_by_others(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    outcome = take_overs(5, tmp_path)
    with capfd.disabled():
        show("take-overs", outcome.numbers, outcome.slow)
    assert good(outcome)


@pytest.mark.chaos
@pytest.mark.timeout(1_500)
def test_conversations_of_a_hundred_killed_workers_are_soon_served_by_others(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with capfd.disabled():
        outcome = take_overs(100, tmp_path)
        show("take-overs", outcome.numbers, outcome.slow)
    keep("take_overs", outcome.numbers)
    assert good(outcome)
