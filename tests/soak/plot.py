"""Draws how old stale reads were: plot.py NUMBERS.json PICTURE..., each picture of the kind that its name ends with."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

_BLUE, _RED, _GREY = "#1f5fa8", "#b3261e", "#555555"


def older_than(numbers: dict[str, Any]) -> tuple[list[float], list[float]]:
    """Ages in seconds, and the share of all reads that were at least so old."""
    left = numbers["stale_reads"]
    ages, shares = [], []
    for end, count in numbers["stale_reads_by_age_up_to"].items():
        # What is in a bucket is younger than its end, so the curve errs on the old side.
        ages.append(min(float(end), numbers["oldest"]))
        shares.append(left / numbers["reads"])
        left -= count
    return ages, shares


def draw(numbers: dict[str, Any], pictures: list[Path]) -> None:
    """Draw the distribution of ages, with D marked."""
    import matplotlib as mpl

    mpl.use("agg")
    mpl.rcParams.update(
        {"svg.hashsalt": "soak", "font.size": 10.5, "axes.spines.top": False, "axes.spines.right": False}
    )
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 5.4), layout="constrained")
    ages, shares = older_than(numbers)
    axes.step([*ages, ages[-1]], [*shares, 0.5 / numbers["reads"]], where="pre", color=_BLUE, linewidth=2)
    axes.set(xscale="log", yscale="log", xlim=(1e-4, 5 * numbers["max_staleness"]), ylim=(0.5 / numbers["reads"], 1))
    _label(axes, numbers)
    _mark(axes, numbers)
    for picture in pictures:
        figure.savefig(picture, metadata={"Date": None} if picture.suffix == ".svg" else None, dpi=110)


def _label(axes: Any, numbers: dict[str, Any]) -> None:
    axes.set_title(_title(numbers), loc="left", fontsize=11, pad=12)
    axes.set_xlabel("age of what was read: time since a newer value had been acknowledged to its writer")
    axes.set_ylabel("share of all reads that were at least so old")
    ticks = {1e-4: "100 µs", 1e-3: "1 ms", 1e-2: "10 ms", 1e-1: "100 ms", 1.0: "1 s"}
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.yaxis.set_major_formatter(lambda share, _: f"{share * 100:.9f}".rstrip("0").rstrip(".") + " %")
    axes.grid(visible=True, which="major", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)


def _title(numbers: dict[str, Any]) -> str:
    faults = sum(numbers["faults"].values())
    none = not numbers["violations"]["older than D"]
    return (
        f"Reads through the near cache while links and server fail: {'none' if none else 'SOME'} older than D\n"
        f"{numbers['reads']:,} reads in {numbers['processes']} processes, "
        f"{numbers['near_cache']['invalidations']:,} invalidations, {faults:,} faults, "
        f"{numbers['faults'].get('server killed', 0)} of them kill -9"
    )


def _mark(axes: Any, numbers: dict[str, Any]) -> None:
    longest = numbers["max_staleness"]
    axes.axvline(longest, color=_RED, linewidth=1.6)
    axes.axvspan(longest, 5 * longest, color=_RED, alpha=0.07, linewidth=0)
    axes.text(longest * 1.08, 0.4, f"D = {longest:g} s\n(max_staleness)", color=_RED, va="top", fontsize=9.5)
    percentiles = numbers["age_percentiles"]
    lines = [
        f"{numbers['stale_reads']:,} stale reads ({numbers['stale_reads'] / numbers['reads']:.1%} of all)",
        "of these:",
        *(f"  {name:>5}  {_told(age)}" for name, age in percentiles.items()),
        f"  {'max':>5}  {_told(numbers['oldest'])}",
    ]
    box = {"facecolor": "white", "edgecolor": "#cccccc", "boxstyle": "round,pad=0.5"}
    axes.text(
        0.03, 0.06, "\n".join(lines), transform=axes.transAxes, color=_GREY, family="monospace", fontsize=9.5, bbox=box
    )


def _told(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"


def main() -> None:
    numbers, *pictures = map(Path, sys.argv[1:])
    draw(json.loads(numbers.read_text(encoding="utf-8")), pictures)


if __name__ == "__main__":
    main()
