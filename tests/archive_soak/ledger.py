"""What a talker has done, in a file of its own: a line for each step, written before the next step is taken."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Ledger:
    """Appends lines. What was written survives the death of the process."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, event: str, *words: Any) -> None:
        """One line."""
        os.write(self._file, json.dumps([event, *words]).encode() + b"\n")


def lines(path: Path) -> Iterator[list[Any]]:
    """The lines of a ledger."""
    with path.open("rb") as file:
        for line in file:
            yield json.loads(line)
