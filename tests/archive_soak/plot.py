"""Draws what a server held while conversations went through it: plot.py NUMBERS.json PICTURE."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

_BLUE, _RED, _GREY = "#1f5fa8", "#b3261e", "#777777"


def draw(numbers: dict[str, Any], picture: Path) -> None:
    """Memory, conversations in the store, and the archive's growth, over time."""
    import matplotlib as mpl

    mpl.use("agg")
    mpl.rcParams.update(
        {"svg.hashsalt": "soak", "font.size": 10.5, "axes.spines.top": False, "axes.spines.right": False}
    )
    from matplotlib import pyplot as plt

    samples = numbers["samples"]
    at = samples["seconds"]
    figure, (upper, lower) = plt.subplots(2, 1, figsize=(9, 6.4), layout="constrained", sharex=True)
    upper.set_title(_title(numbers), loc="left", fontsize=11, pad=12)
    upper.plot(at, [each / 1e6 for each in samples["memory"]], color=_BLUE, linewidth=1.4)
    upper.axhline(numbers["memory before"] / 1e6, color=_GREY, linewidth=1, linestyle=":")
    upper.text(at[-1], numbers["memory before"] / 1e6, "before the first", color=_GREY, ha="right", va="bottom")
    upper.set_ylabel("memory of the server (MB)", color=_BLUE)
    upper.set_ylim(0)
    lower.plot(at, [each / 1e6 for each in samples["archived"]], color=_RED, linewidth=1.8)
    lower.set_ylabel("conversations in the archive (millions)", color=_RED)
    lower.set_ylim(0)
    lower.set_xlabel("seconds")
    beside = lower.twinx()
    beside.plot(at, samples["index"], color=_GREY, linewidth=0.9)
    beside.set_ylabel("in the index", color=_GREY)
    beside.set_ylim(0)
    for axes in (upper, lower):
        axes.grid(visible=True, which="major", color="#dddddd", linewidth=0.8)
        axes.set_axisbelow(True)
    figure.savefig(picture, metadata={"Date": None} if picture.suffix == ".svg" else None, dpi=110)


def _title(numbers: dict[str, Any]) -> str:
    return (
        f"{numbers['conversations']:,} conversations: start, {numbers['writes of each']} writes, end or hang-up\n"
        f"{numbers['conversations per second']:,} a second; memory {numbers['memory before'] / 1e6:.2f} MB before, "
        f"{numbers['memory after'] / 1e6:.2f} MB after"
    )


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2]))
