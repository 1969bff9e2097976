"""The result of a run: in words, as tables, as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from redstate.demo.facts import Facts
from redstate.demo.verify import Books, Check

_SHOWN = 10  # violations that are named


def as_json(facts: Facts, books: Books) -> dict[str, Any]:
    """The result for machines: plain data."""
    return {
        "ok": not books.violations,
        **asdict(facts),
        "calls_per_second": _rate(facts),
        "calls_by_worker": {str(worker): count for worker, count in sorted(books.shares.items())},
        "checks": [asdict(check) for check in books.checks],
    }


def show(console: Console, facts: Facts, books: Books) -> None:
    """Print the result for people."""
    console.print(_in_words(facts, books), highlight=False)
    console.print()
    console.print(_figures(facts, books))
    console.print(_invariants(books))
    violations = books.violations
    for violation in violations[:_SHOWN]:
        console.print(f"  {violation}", markup=False, highlight=False, soft_wrap=True)
    if len(violations) > _SHOWN:
        console.print(f"  and {len(violations) - _SHOWN:,} more", highlight=False)


def _rate(facts: Facts) -> float:
    return round(facts.answered / facts.seconds, 1) if facts.seconds else 0.0


def _in_words(facts: Facts, books: Books) -> str:
    held = f"{facts.concurrency:,} at a time" if facts.concurrency < facts.conversations else "all at once"
    processes = "1 process" if facts.workers == 1 else f"{facts.workers} processes"
    told = (
        f"{processes} served {facts.conversations:,} conversations, {held}: "
        f"{facts.answered:,} tool calls in {facts.seconds:.1f} s."
    )
    twice = f"{facts.delivered_twice:,} calls were delivered to a second process too."
    if facts.killed or facts.replaced:
        twice += (
            f" {facts.killed} worker was killed and {facts.replaced} replaced meanwhile; "
            f"{facts.taken_over:,} conversations went to another one."
        )
    wrong = len(books.violations)
    verdict = (
        f"[bold red]{wrong:,} violations were found on the server.[/]"
        if wrong
        else "[green]Read back from the server, every one of them took effect exactly once, where it belongs.[/]"
    )
    return f"{told} {twice} {verdict}"


def _figures(facts: Facts, books: Books) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column(style="bold")
    table.add_column(justify="right")
    rows = {
        "conversations": f"{facts.conversations:,}",
        "tool calls": f"{facts.answered:,}",
        "tool calls/s": f"{_rate(facts):,.0f}",
        "a tool call, p50": f"{facts.p50_ms:.1f} ms",
        "a tool call, p99": f"{facts.p99_ms:.1f} ms",
    }
    for worker, count in sorted(books.shares.items()):
        rows[f"served by worker {worker}"] = f"{count:,}"
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _invariants(books: Books) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    table.add_column("\nchecked against the server")
    table.add_column("\nlooked at", justify="right")
    table.add_column("\nresult")
    for check in books.checks:
        table.add_row(check.name, f"{check.looked_at:,} {check.unit}", _result(check))
    return table


def _result(check: Check) -> str:
    return f"[bold red]{len(check.violations):,} wrong[/]" if check.violations else "[green]holds[/]"
