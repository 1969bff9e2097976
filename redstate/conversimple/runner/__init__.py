"""Serves agents from several processes: starts them, watches them, replaces them, and stops them in order.

``redstate run`` is made of this. In code::

    async with Supervisor(RunnerSettings(path=Path("agents"), api_key="...", workers=4), observer) as supervisor:
        await supervisor.wait()
"""

from redstate.conversimple.runner.backoff import Backoff
from redstate.conversimple.runner.events import Observer, WorkerEvent
from redstate.conversimple.runner.settings import RunnerSettings
from redstate.conversimple.runner.supervisor import RestartFailed, Supervisor, WorkerInfo

__all__ = ["Backoff", "Observer", "RestartFailed", "RunnerSettings", "Supervisor", "WorkerEvent", "WorkerInfo"]
