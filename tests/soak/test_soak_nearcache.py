"""The near cache under load and faults: nothing older than D, nothing backwards, nobody's own write unseen."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from soak.plan import Plan
from soak.report import keep
from soak.run import Outcome, soak

_DOCS = Path(__file__).parents[2] / "docs"

# Fewer records than in the long run: what is rare must come about in a few seconds.
SHORT = Plan(
    goal=20_000,
    longest_run=60.0,
    faults_apart=0.4,
    restarts_apart=3.0,
    write_pause=0.003,
    read_pause=0.03,
    conversations=32,
    customers=8,
)
LONG = Plan(
    goal=1_000_000,
    longest_run=1_500.0,
    faults_apart=2.0,
    restarts_apart=15.0,
    write_pause=0.008,
    read_pause=0.03,
    progress=10.0,
)


def good(outcome: Outcome) -> bool:
    """Whether nothing went wrong; fails the test with what did."""
    if outcome.problems:
        pytest.fail("\n".join(outcome.problems), pytrace=False)
    return True


def test_the_near_cache_keeps_its_promises_under_faults(tmp_path: Path) -> None:
    assert good(soak(SHORT, tmp_path))


@pytest.mark.chaos
@pytest.mark.timeout(1_800)
def test_the_near_cache_keeps_its_promises_over_a_million_invalidations(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    if find_spec("matplotlib") is None:
        pytest.fail("matplotlib is not installed; make chaos does it, from the dependency group of that name")
    with capfd.disabled():
        print("\nsoaking", file=sys.stderr)
        outcome = soak(LONG, tmp_path)
    assert good(outcome)
    keep(outcome, _DOCS)
