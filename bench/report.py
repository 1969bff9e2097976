"""The header, the table and the JSON of a run."""

from __future__ import annotations

import os
import platform
import resource
import shlex
import sys
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.measure import Line
from bench.servers import ALL_CORES, every_server, running, version_of

_BUSY = 0.1  # above this share of other work a warning is printed


def header(chosen: str) -> dict[str, str]:
    """What was measured, on what, with what."""
    cores = len(ALL_CORES) or os.cpu_count()
    return {
        "machine": f"{_processor()}, {cores} cores, {platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "libraries": ", ".join(f"{name} {version(name)}" for name in ("redstate", "redis", "hiredis")),
        "servers": ", ".join(_versions(chosen)),
        "pinning": "as said at each row" if ALL_CORES else "not possible on this system: expect noise",
        "command": shlex.join(["python", "-m", "bench", *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }


def _versions(chosen: str) -> list[str]:
    found = []
    for name in every_server(chosen):
        with running(name) as server:
            found.append(version_of(server) + (" (bundled)" if name == "bundled" else f" ({name})"))
    return found


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except FileNotFoundError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return models[0] if models else platform.machine()


class OtherWork:
    """How much of the machine others used meanwhile. Absolute figures suffer from it first, ratios later."""

    def __init__(self) -> None:
        self._busy, self._own, self._wall = _busy_seconds(), _own_seconds(), time.monotonic()

    def share(self) -> float | None:
        """Others' part of all cores' time since the start; None where the system does not tell."""
        if self._busy is None:
            return None
        busy = (_busy_seconds() or 0.0) - self._busy - (_own_seconds() - self._own)
        return max(0.0, busy / ((time.monotonic() - self._wall) * (os.cpu_count() or 1)))


def _busy_seconds() -> float | None:
    try:
        first = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()
    except FileNotFoundError:
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, first[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in spent)


def table(lines: list[Line]) -> str:
    """The lines in columns: what, against what, the ratio, its target, the absolute figures of both sides."""
    rows = [("work", "against", "ratio", "quartiles", "target", "", "redstate us/op", "other us/op")]
    rows.append(("", "", "", "", "", "", "wall /    CPU", "wall /    CPU"))
    previous = ""
    for line in lines:
        spread = f"{line.spread[0]:.2f}-{line.spread[1]:.2f}" if line.spread else ""
        value = f"{line.value:.2f}" + line.unit
        work = "" if line.work == previous else line.work
        previous = line.work
        rows.append((work, line.against, value, spread, _target(line), _verdict(line), line.ours, line.theirs))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    left = {0, 1, 5}
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _target(line: Line) -> str:
    if line.target is None:
        return ""
    return f"{'>=' if line.at_least else '<='} {line.target:.2f}"


def _verdict(line: Line) -> str:
    return {None: "", True: "met", False: "MISSED"}[line.met]


def summary(lines: list[Line], others: float | None) -> str:
    """One sentence on the targets, and one on the machine if it was busy."""
    judged = [line.met for line in lines if line.met is not None]
    said = f"{sum(judged)} of {len(judged)} targets met."
    if others is not None and others > _BUSY:
        said += (
            f" Other work took {others:.0%} of the machine meanwhile:"
            " absolute figures are too high, and ratios of what waits for the server are damped."
        )
    return said


def as_json(head: dict[str, str], lines: list[Line], others: float | None) -> dict[str, Any]:
    return {
        "header": head,
        "other_work": others,
        "lines": [{**asdict(line), "met": line.met} for line in lines],
    }
