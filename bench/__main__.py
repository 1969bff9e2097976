"""Measures redstate against its peers and prints ratios: ``python -m bench``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from bench import (
    append_row,
    archive_row,
    async_row,
    customers_row,
    hot_read_row,
    lag_row,
    latency_row,
    memory_row,
    mixed_row,
    ownership_row,
    server_cost,
    single_thread_row,
    sync_row,
    threads_row,
)
from bench.measure import Line, Plan
from bench.report import OtherWork, as_json, header, summary, table
from bench.servers import BUNDLED

ROWS: dict[str, Callable[[Plan], list[Line]]] = {
    "sync": sync_row.measure,
    "async": async_row.measure,
    "append": append_row.measure,
    "server": server_cost.measure,
    "memory": memory_row.measure,
    "latency": latency_row.measure,
    "threads": threads_row.measure,
    "single": single_thread_row.measure,
    "hot": hot_read_row.measure,
    "lag": lag_row.measure,
    "mixed": mixed_row.measure,
    "customers": customers_row.measure,
    "ownership": ownership_row.measure,
    "archive": archive_row.measure,
}


def main() -> int:
    arguments = _arguments()
    rounds = 2 if arguments.quick and arguments.rounds is None else arguments.rounds or 5
    plan = Plan(rounds, arguments.quick, arguments.full, arguments.server, _progress)
    others, lines, interrupted = OtherWork(), [], False
    head = header(plan.server)
    print("\n".join(f"{name:10} {text}" for name, text in head.items()))
    try:
        for name in arguments.only or ROWS:
            lines += ROWS[name](plan)
    except KeyboardInterrupt:
        interrupted = True
    _progress("")
    share = others.share()
    if lines:
        print(f"\n{table(lines)}\n\n{summary(lines, share)}")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(as_json(head, lines, share), indent=2) + "\n", encoding="utf-8")
    if interrupted:
        print("Interrupted: the rows that were not finished are missing.", file=sys.stderr)
        return 130
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=_positive, help="how often everything is measured in turn (5, or 2 if quick)")
    parser.add_argument("--quick", action="store_true", help="a first look in a minute or so")
    parser.add_argument("--full", action="store_true", help="include a million conversations (about 2 GB of memory)")
    parser.add_argument("--only", action="append", choices=ROWS, help="measure this row alone; may be repeated")
    parser.add_argument("--server", default=BUNDLED, help="bundled, or the name or path of a server binary")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures there, too")
    return parser.parse_args()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _progress(text: str) -> None:
    """One line that replaces itself in a terminal; a line for each step elsewhere."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
    elif text:
        print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
