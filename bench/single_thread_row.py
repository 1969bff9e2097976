"""Runs the pytest-benchmark suite and takes its medians over."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.measure import Line, Plan

_SUITE = Path(__file__).with_name("test_single_thread.py")


def measure(plan: Plan) -> list[Line]:
    """Medians in microseconds, with quartiles."""
    plan.say("single-thread operations (pytest-benchmark)")
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "found.json"
        command = [sys.executable, "-m", "pytest", str(_SUITE), "--benchmark-only", "-q", "-p", "no:cacheprovider"]
        command += [f"--benchmark-json={found}", f"--benchmark-max-time={0.1 if plan.quick else 0.5}"]
        done = subprocess.run(command, cwd=_SUITE.parents[1], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the pytest-benchmark suite failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        results = json.loads(found.read_text(encoding="utf-8"))["benchmarks"]
    return [
        Line(
            "one thread, one core: " + result["name"].removeprefix("test_"),
            "",
            result["stats"]["median"] * 1e6,
            unit=" us",
            spread=(result["stats"]["q1"] * 1e6, result["stats"]["q3"] * 1e6),
        )
        for result in results
    ]
