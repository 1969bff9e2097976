"""The command ``redstate``. What it needs is imported only when it runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: without the program's name; those of this process by default.

    Returns:
        The exit status: 0 well, 1 it failed, 2 it was asked for something impossible, 130 interrupted.
    """
    try:
        from redstate.cli.app import run
    except ModuleNotFoundError as error:
        if error.name not in ("click", "rich"):
            raise
        sys.stderr.write(
            f"error: the redstate command needs {error.name}, which is not installed. "
            'Install it with: pip install "redstate[cli]"\n'
        )
        return 1
    except KeyboardInterrupt:
        return 130
    return run(arguments)
