"""What is shown and kept of a run."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

COMMAND = "make chaos ARGS=tests/calls_soak"
_KEPT = Path(__file__).parents[2] / "docs" / "tool-calls.json"


def show(title: str, numbers: Mapping[str, Any], remarks: Iterable[str] = ()) -> None:
    """Print the numbers of a run."""
    lines = [f"  {name:<50} {value:>12,}" for name, value in numbers.items()] + [f"  {remark}" for remark in remarks]
    print("\n" + "\n".join([title, *lines]), file=sys.stderr, flush=True)


def keep(part: str, numbers: Mapping[str, Any]) -> None:
    """Write the numbers of one of the long runs into the file that has those of all."""
    _KEPT.parent.mkdir(exist_ok=True)
    kept = json.loads(_KEPT.read_text(encoding="utf-8")) if _KEPT.exists() else {}
    kept["command"] = COMMAND
    kept[part] = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **numbers,
    }
    _KEPT.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
