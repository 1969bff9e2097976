"""Everybody on the way to the archive dies, again and again: every conversation arrives once, as it was last."""

from __future__ import annotations

from pathlib import Path

import pytest
from archive_soak.plan import Plan
from archive_soak.report import DOCS, keep, show
from archive_soak.run import Outcome, soak

SHORT = Plan(
    seconds=8.0,
    conversations=6,
    talker_kills_apart=(2.0, 4.0),
    restarts_apart=(3.0, 5.0),
    outages_apart=(2.0, 4.0),
)
LONG = {"sqlite": Plan(seconds=300.0), "postgres": Plan(seconds=180.0, database="postgres")}


def good(outcome: Outcome) -> bool:
    """Whether nothing went wrong; fails the test with what did."""
    if outcome.problems:
        pytest.fail("\n".join(outcome.problems), pytrace=False)
    return True


def test_every_conversation_is_archived_once_whatever_dies(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    outcome = soak(SHORT, tmp_path)
    with capfd.disabled():
        show("archiving under faults", outcome.numbers)
    assert good(outcome)


@pytest.mark.chaos
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("kind", LONG)
def test_every_conversation_is_archived_once_after_hundreds_of_kills(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], kind: str
) -> None:
    with capfd.disabled():
        outcome = soak(LONG[kind], tmp_path)
        show(f"archiving under faults, {kind}", outcome.numbers)
    assert good(outcome)
    keep(DOCS / "archive-soak.json", kind, outcome.numbers)
