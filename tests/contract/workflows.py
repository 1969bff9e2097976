"""The workflows that several files of tests use."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any, Literal

from redstate import Guard, Step, Workflow

BOOKING = Workflow(
    "booking",
    [
        Step("initial", next="collecting_dates"),
        Step(
            "collecting_dates",
            collects={"check_in": date, "check_out": date},
            next="collecting_guests",
            guards=[
                Guard(
                    "dates in order",
                    lambda data: data["check_out"] > data["check_in"],
                    "The check-out must be after the check-in",
                )
            ],
        ),
        Step("collecting_guests", collects={"guests": int, "wishes": list[str] | None}, next="ready_to_confirm"),
        Step("ready_to_confirm", next="completed"),
        Step("completed", final=True),
    ],
)
HURRIED = Workflow(
    "hurried",
    [
        Step("begin", collects={"n": int | None, "m": int | None}, next="offer"),
        Step("offer", collects={"answer": bool}, next="done", time_limit=0.05, on_timeout="lapsed"),
        Step("lapsed", next=["offer", "done"]),
        Step("done", final=True),
    ],
)
BRANCHING = Workflow(
    "branching",
    [
        Step(
            "size",
            collects={"guests": int, "kind": Literal["business", "leisure"] | None, "rate": Decimal | None},
            next=["express", "desk"],
            guards=[Guard("small", lambda data: data["guests"] <= 2, "Only two fit", to="express")],
        ),
        Step("express", next="done"),
        Step("desk", next="done"),
        Step("done", final=True),
    ],
)


def overdue(run: Any) -> None:
    """Wait until the present step's time is over, by the server's own word."""
    while run.status().seconds_left:
        pass
