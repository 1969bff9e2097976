"""Looks which agents there are before any worker is started, in a process of its own: the parent imports none."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from redstate.conversimple.runner.process import WorkerProcess
from redstate.conversimple.runner.settings import RunnerSettings
from redstate.errors import ConfigurationError

logger = logging.getLogger("redstate.conversimple.runner")


async def check_agents(settings: RunnerSettings) -> tuple[str, ...]:
    """Return the ids of the agents in the folder; those that are skipped are said by warnings.

    Raises:
        ConfigurationError: there is none, or a module cannot be imported.
    """
    heard: list[dict[str, Any]] = []
    process = WorkerProcess(settings, 0, lambda _, report: heard.append(report), check=True)
    try:
        async with asyncio.timeout(settings.start_timeout):
            status = await asyncio.shield(process.ended)
    except TimeoutError:
        raise _unfit(settings, f"was not through after {settings.start_timeout:g} seconds") from None
    finally:
        process.kill("stopped")
        await asyncio.shield(process.ended)
    for report in heard:
        if report["type"] == "failed":
            raise ConfigurationError(report["message"], next_step=report["next_step"])
        if report["type"] == "skipped":
            logger.warning("%s", report["reason"])
    for report in heard:
        if report["type"] == "discovered":
            return tuple(report["agents"])
    raise _unfit(settings, f"ended the process with status {status}")


def _unfit(settings: RunnerSettings, what: str) -> ConfigurationError:
    return ConfigurationError(
        f"importing the modules in {settings.path} {what}",
        next_step='Put what a module does by itself under: if __name__ == "__main__":',
    )
