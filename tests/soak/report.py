"""What is kept of a long run: its numbers as JSON, and the picture that is drawn of them."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from soak.judge import upper_end
from soak.run import Outcome

COMMAND = "make chaos ARGS=tests/soak"
_NAME = "stale-reads"


def keep(outcome: Outcome, folder: Path) -> None:
    """Write the numbers and the picture into a folder."""
    folder.mkdir(exist_ok=True)
    numbers, picture = folder / f"{_NAME}.json", folder / f"{_NAME}.svg"
    numbers.write_text(json.dumps(_numbers(outcome), indent=2) + "\n", encoding="utf-8")
    # In a process of its own: what another library warns of is no failure of the soak.
    script = Path(__file__).with_name("plot.py")
    subprocess.run([sys.executable, str(script), str(numbers), str(picture)], check=True)


def _numbers(outcome: Outcome) -> dict[str, Any]:
    counts, plan = outcome.counts, outcome.plan
    ages = {f"{upper_end(number):.4g}": count for number, count in enumerate(counts.ages) if count}
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "command": COMMAND,
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "seed": plan.seed,
        "seconds": round(outcome.seconds, 1),
        "max_staleness": plan.staleness,
        "processes": plan.processes,
        "readers": plan.processes * (plan.threads + plan.tasks),
        "records": plan.keys,
        "reads": counts.reads,
        "fresh_reads": counts.fresh_reads,
        "writes": outcome.writes,
        "unknown_outcomes": outcome.unknown,
        "near_cache": outcome.stats,
        "faults": dict(sorted(outcome.faults.items())),
        "violations": counts.violations,
        "stale_reads": counts.stale,
        "age_percentiles": {name: _rounded(counts.percentile(share)) for name, share in shares.items()},
        "oldest": _rounded(counts.oldest),
        "stale_reads_by_age_up_to": ages,
    }


def _rounded(seconds: float) -> float:
    return float(f"{seconds:.4g}")
