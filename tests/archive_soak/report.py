"""What is shown and kept of a run."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

COMMAND = "make chaos ARGS=tests/archive_soak"
DOCS = Path(__file__).parents[2] / "docs"


def show(title: str, numbers: Mapping[str, Any]) -> None:
    """Print the numbers of a run."""
    told = [f"  {name:<50} {value:>14,}" for name, value in numbers.items() if isinstance(value, (int, float))]
    print("\n" + "\n".join([title, *told]), file=sys.stderr, flush=True)


def keep(path: Path, part: str, numbers: Mapping[str, Any]) -> None:
    """Write the numbers of a run into the file that has those of others, too."""
    path.parent.mkdir(exist_ok=True)
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    kept["command"] = COMMAND
    kept[part] = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **numbers,
    }
    path.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
