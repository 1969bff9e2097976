"""How figures are taken: short slices of every contender in turn, and medians of the ratios of neighbouring slices.

Load that comes and goes on the machine falls on all contenders of a turn alike, so ratios hold where absolute figures
drift. The order rotates, so that none always runs right after the same neighbour.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Sample:
    """One slice of one contender: operations, wall seconds, CPU seconds of this process."""

    ops: int
    wall: float
    cpu: float

    @property
    def wall_us(self) -> float:
        return self.wall / self.ops * 1e6

    @property
    def cpu_us(self) -> float:
        return self.cpu / self.ops * 1e6


Samples = dict[str, list[Sample]]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table.

    Attributes:
        work: what was done.
        against: what redstate is compared with.
        value: the ratio, or a plain figure where ``unit`` is set.
        target: what the ratio must reach; None where the line only informs.
        at_least: whether the target is a lower bound.
        ours, theirs: absolute figures of both sides, for the eye.
    """

    work: str
    against: str
    value: float
    target: float | None = None
    at_least: bool = False
    ours: str = ""
    theirs: str = ""
    unit: str = ""
    spread: tuple[float, float] | None = None

    @property
    def met(self) -> bool | None:
        if self.target is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target


@dataclass
class Plan:
    """How much to measure.

    Attributes:
        rounds: how often everything is repeated.
        quick: a tenth of the work, for a first look.
        full: include the million conversations.
        server: ``bundled``, or name or path of a server binary.
        say: reports progress.
    """

    rounds: int = 5
    quick: bool = False
    full: bool = False
    server: str = "bundled"
    say: Callable[[str], None] = field(default=lambda text: None)

    def scaled(self, amount: int) -> int:
        return max(1, amount // 4) if self.quick else amount


def timed(work: Callable[[], int]) -> Sample:
    """Run ``work``, which returns how many operations it did."""
    wall, cpu = time.perf_counter(), time.process_time()
    ops = work()
    return Sample(ops, time.perf_counter() - wall, time.process_time() - cpu)


def turns(names: list[str], count: int) -> Iterator[str]:
    """Whose turn it is: every name ``count`` times, the order rotating."""
    for turn in range(count):
        shift = turn % len(names)
        yield from names[shift:] + names[:shift]


def interleave(contenders: dict[str, Callable[[], int]], count: int) -> Samples:
    """``count`` slices of each contender, in turn."""
    samples: Samples = {name: [] for name in contenders}
    for name in turns(list(contenders), count):
        samples[name].append(timed(contenders[name]))
    return samples


def ratios(above: list[float], below: list[float]) -> tuple[float, tuple[float, float]]:
    """The median of the ratios turn by turn, and their quartiles."""
    found = sorted(one / other for one, other in zip(above, below, strict=True))
    median = statistics.median(found)
    if len(found) < 2:
        return median, (median, median)
    lower, _, upper = statistics.quantiles(found, n=4, method="inclusive")
    return median, (lower, upper)


def wall_times(samples: list[Sample]) -> list[float]:
    return [sample.wall_us for sample in samples]


def cpu_times(samples: list[Sample]) -> list[float]:
    return [sample.cpu_us for sample in samples]


def figures(samples: list[Sample], digits: int = 1) -> str:
    """Median wall time and client CPU of an operation."""
    wall, cpu = statistics.median(wall_times(samples)), statistics.median(cpu_times(samples))
    return f"{wall:6.{digits}f} / {cpu:6.{digits}f}"
