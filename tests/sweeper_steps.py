"""The names that tests have for what a sweeper asks the server."""

from __future__ import annotations

from typing import Any

from redstate._call import Query

READ = "HGETALL"


def step_of(*calls: Query[Any]) -> str:
    """The name of the script that calls run, or their command."""
    first = calls[0]
    return str(first.words[0]) if first.script is None else first.script.name
