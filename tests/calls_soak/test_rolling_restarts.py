"""Workers that are replaced one after another while callers call: nobody notices more than a pause."""

from __future__ import annotations

from pathlib import Path

import pytest
from calls_soak.report import keep, show
from calls_soak.restarts import Restarts, rolling_restarts


def good(outcome: Restarts) -> bool:
    """Whether nothing went wrong; fails the test with what did."""
    if outcome.problems:
        pytest.fail(outcome.problems, pytrace=False)
    return outcome.failed == 0


def test_no_call_fails_in_a_rolling_restart(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    outcome = rolling_restarts(1, 15, tmp_path)
    with capfd.disabled():
        show("rolling restart", outcome.numbers)
    assert good(outcome)


@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_no_call_fails_in_three_rolling_restarts(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with capfd.disabled():
        outcome = rolling_restarts(3, 100, tmp_path)
        show("rolling restarts", outcome.numbers)
    keep("rolling_restarts", outcome.numbers)
    assert good(outcome)
