"""Conversations come and go: what the server holds does not grow, and the archive has each of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from archive_soak.million import Outcome, run
from archive_soak.report import COMMAND, DOCS, show

_COUNT = int(os.environ.get("REDSTATE_SOAK_CONVERSATIONS", "1_000_000"))
_SHORT = 3_000
_NAME = "archive-million"


def good(outcome: Outcome, *, flat: float | None) -> bool:
    """Whether nothing went wrong; fails the test with what did.

    Args:
        outcome: of a run.
        flat: by what share the memory of the last third may exceed the one before; None to not look.
    """
    problems = list(outcome.problems)
    if outcome.memory_after > outcome.memory_before * 1.05 + 50_000:
        problems.append(f"memory was {outcome.memory_before:,} before and is {outcome.memory_after:,} after")
    _, middle, last = outcome.thirds
    if flat is not None and last > middle * (1 + flat):
        problems.append(f"memory grew from {middle:,} to {last:,} in the last third")
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)
    return True


def test_short_conversations_leave_nothing_behind(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    outcome = run(_SHORT, tmp_path)
    with capfd.disabled():
        show(f"{_SHORT:,} short conversations", outcome.numbers)
    assert good(outcome, flat=None)


@pytest.mark.chaos
@pytest.mark.timeout(2_400)
def test_a_million_short_conversations_take_no_more_memory_than_a_thousand(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    if find_spec("matplotlib") is None:
        pytest.fail("matplotlib is not installed; make chaos does it, from the dependency group of that name")
    with capfd.disabled():
        outcome = run(_COUNT, tmp_path)
        show(f"{_COUNT:,} short conversations", outcome.numbers)
    assert good(outcome, flat=0.1)
    _keep(outcome)


def _keep(outcome: Outcome) -> None:
    samples: dict[str, list[Any]] = {
        "seconds": [sample.at for sample in outcome.samples],
        **{
            name: [getattr(sample, name) for sample in outcome.samples]
            for name in ("memory", "keys", "index", "archived")
        },
    }
    numbers = {
        "date": datetime.now(UTC).date().isoformat(),
        "command": COMMAND,
        "machine": f"{os.cpu_count()} cores",
        **outcome.numbers,
        "samples": samples,
    }
    DOCS.mkdir(exist_ok=True)
    told, picture = DOCS / f"{_NAME}.json", DOCS / f"{_NAME}.svg"
    told.write_text(json.dumps(numbers) + "\n", encoding="utf-8")
    # In a process of its own: what another library warns of is no failure of the soak.
    subprocess.run([sys.executable, str(Path(__file__).with_name("plot.py")), str(told), str(picture)], check=True)
