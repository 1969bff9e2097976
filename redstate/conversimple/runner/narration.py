"""Tells what happens to the workers, in the log."""

from __future__ import annotations

import logging

from redstate.conversimple.runner.events import WorkerEvent

logger = logging.getLogger("redstate.conversimple.runner")


def narrate(event: WorkerEvent) -> None:
    """Log an event of the supervisor's own; what workers log themselves is not repeated."""
    data = event.data
    who = {"event": f"worker_{event.kind}", "worker": event.worker, "worker_pid": event.pid}
    name = f"worker {event.worker} (pid {event.pid})"
    match event.kind:
        case "started":
            logger.debug("%s starts", name, extra=who)
        case "ready":
            logger.info("%s is ready", name, extra=who)
        case "failed":
            words = ". ".join(filter(None, (data["message"], data["next_step"])))
            logger.error("%s cannot serve: %s", name, words, extra=who)
        case "stalled":
            what = "has not reported" if data["ready"] else "has not got ready"
            logger.error("%s %s for %.1f s and is killed", name, what, data["seconds"], extra=who)
        case "ended":
            expected = data["reason"] in ("stopped", "replaced") and not data["killed"]
            level = logging.INFO if expected else logging.ERROR
            logger.log(level, "%s %s (%s)", name, _how(data["status"]), data["reason"], extra=who)
        case "restarting":
            logger.info("worker %d is started again in %.2f s", event.worker, data["pause"], extra=who)


def _how(status: int) -> str:
    return f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
