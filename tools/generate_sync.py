"""Writes redstate/_sync from redstate/_async, or checks that it is up to date.

Usage: python tools/generate_sync.py [--check]
"""

from __future__ import annotations

import argparse
import difflib
import subprocess
import sys
import tempfile
from pathlib import Path

import unasync

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "redstate" / "_async"
TARGET = ROOT / "redstate" / "_sync"
BANNER = "# Generated from redstate/_async/{name} by tools/generate_sync.py. Do not edit: edit that file.\n"
NAMES = {
    "AsyncStore": "Store",
    "AsyncConversation": "Conversation",
    "AsyncState": "State",
    "AsyncTypedConversation": "TypedConversation",
    "AsyncTypedState": "TypedState",
    "AsyncCustomer": "Customer",
    "AsyncCart": "Cart",
    "AsyncWorkflowRun": "WorkflowRun",
    "AsyncStateBase": "LiveState",
    "AsyncTransaction": "Transaction",
    "AsyncContention": "Contention",
    "AsyncRecord": "Record",
    "AsyncSession": "Session",
    "AsyncCache": "Cache",
    "AsyncCachedFunction": "CachedFunction",
    "AsyncLoader": "Loader",
    "AsyncFunction": "Function",
    "LoopWaits": "ThreadWaits",
    "AsyncWatches": "Watches",
    "LoopSignal": "ThreadSignal",
    "LoopJoins": "ThreadJoins",
    "LoopFetch": "ThreadFetch",
    "called_and_awaited": "called",
    "AWAITED": "PLAIN",
    "AsyncTransport": "SyncTransport",
    "AsyncArchive": "Archive",
    "AsyncKeptRecord": "KeptRecord",
    "AsyncDossier": "Dossier",
    "AsyncEnding": "Ending",
    "AsyncLifetime": "Lifetime",
    "LoopArchive": "ThreadArchive",
    "LoopWriters": "ThreadWriters",
    "_async": "_sync",
    "aio": "sync",
}


def generate() -> dict[str, str]:
    """The text of every generated file by name."""
    with tempfile.TemporaryDirectory() as folder:
        inputs, out = Path(folder) / "in", Path(folder) / "out"
        inputs.mkdir()
        for path in SOURCE.glob("*.py"):
            (inputs / path.name).write_text(path.read_text())
        rule = unasync.Rule(fromdir=str(inputs) + "/", todir=str(out) + "/", additional_replacements=NAMES)
        unasync.unasync_files([str(path) for path in inputs.glob("*.py")], [rule])
        for path in out.glob("*.py"):
            text = path.read_text()
            path.write_text(
                BANNER.format(name=path.name)
                + text.replace(
                    "Written here, awaited; ``redstate/_sync`` is generated from this package.",
                    "The blocking twins of ``redstate/_async``.",
                )
            )
        subprocess.run(
            [sys.executable, "-m", "ruff", "format", "--quiet", "--config", str(ROOT / "pyproject.toml"), str(out)],
            check=True,
        )
        subprocess.run(
            [
                sys.executable,
                "-m",
                "ruff",
                "check",
                "--quiet",
                "--fix",
                "--select",
                "I",
                "--config",
                str(ROOT / "pyproject.toml"),
                str(out),
            ],
            check=True,
        )
        return {path.name: path.read_text() for path in sorted(out.glob("*.py"))}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if a file is out of date")
    check = parser.parse_args().check
    wanted = generate()
    present = {path.name: path.read_text() for path in TARGET.glob("*.py")}
    if wanted == present:
        return 0
    if check:
        for name in sorted(wanted.keys() | present.keys()):
            diff = difflib.unified_diff(
                present.get(name, "").splitlines(),
                wanted.get(name, "").splitlines(),
                f"_sync/{name}",
                "as generated",
                lineterm="",
            )
            print("\n".join(diff))
        print("redstate/_sync is out of date: run python tools/generate_sync.py", file=sys.stderr)
        return 1
    for name in present.keys() - wanted.keys():
        (TARGET / name).unlink()
    for name, text in wanted.items():
        (TARGET / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
