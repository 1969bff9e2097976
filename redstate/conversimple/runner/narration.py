"""Tells what happens to the workers and the sweeper, in the log."""

from __future__ import annotations

import logging

from redstate.conversimple.runner.events import WorkerEvent

logger = logging.getLogger("redstate.conversimple.runner")


def narrate(event: WorkerEvent) -> None:
    """Log an event of the supervisor's own; what workers log themselves is not repeated."""
    data = event.data
    kind = event.kind.removeprefix("sweeper_")
    if event.kind.startswith("sweeper_"):
        who = {"event": event.kind, "sweeper_pid": event.pid}
        short, work = "the sweeper", "sweep"
    else:
        who = {"event": f"worker_{kind}", "worker": event.worker, "worker_pid": event.pid}
        short, work = f"worker {event.worker}", "serve"
    name = f"{short} (pid {event.pid})"
    match kind:
        case "started":
            logger.debug("%s starts", name, extra=who)
        case "ready":
            logger.info("%s is ready", name, extra=who)
        case "failed":
            words = ". ".join(filter(None, (data["message"], data["next_step"])))
            logger.error("%s cannot %s: %s", name, work, words, extra=who)
        case "stalled":
            what = "has not reported" if data["ready"] else "has not got ready"
            logger.error("%s %s for %.1f s and is killed", name, what, data["seconds"], extra=who)
        case "ended":
            expected = data["reason"] in ("stopped", "replaced") and not data["killed"]
            level = logging.INFO if expected else logging.ERROR
            logger.log(level, "%s %s (%s)", name, _how(data["status"]), data["reason"], extra=who)
        case "restarting":
            logger.info("%s is started again in %.2f s", short, data["pause"], extra=who)


def _how(status: int) -> str:
    return f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
