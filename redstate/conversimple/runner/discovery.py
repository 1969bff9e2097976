"""Which agent classes a worker serves. It imports the user's modules, so only workers use it."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from conversimple import ConversimpleAgent
from conversimple.dispatcher import AgentRegistry

from redstate.conversimple import StatefulAgent
from redstate.errors import ConfigurationError, RedstateError

logger = logging.getLogger("redstate.conversimple.runner")

_CHANGE_BASE = "make redstate.conversimple.StatefulAgent its base class"


class Discovery:
    """The agent classes that were found.

    Attributes:
        agents: the classes to serve, by their agent ids.
        skipped: a sentence for each class that is not served, saying why and what to do.
    """

    def __init__(self, agents: dict[str, type[StatefulAgent]], skipped: list[str]) -> None:
        self.agents = agents
        self.skipped = skipped


def discover(path: str | None, classes: list[str]) -> Discovery:
    """Find the agents in a folder, or import those that are named.

    Args:
        path: the folder; it becomes the first place where modules are looked for.
        classes: ``"module:Class"`` for each class; if empty, those of the folder are found.

    Raises:
        ConfigurationError: a module could not be imported, or there is no agent.
    """
    if path is not None:
        sys.path.insert(0, path)
    importlib.invalidate_caches()
    if classes:
        return Discovery(dict(_named(target) for target in classes), [])
    assert path is not None
    registry = _Registry(Path(path))
    registry.discover()
    if registry.failure is not None:
        raise registry.failure
    agents: dict[str, Any] = {agent_id: registered.cls for agent_id, registered in registry.agents.items()}
    if not agents:
        raise _nothing_found(path, registry.skipped)
    return Discovery(agents, list(registry.skipped.values()))


class _Registry(AgentRegistry):
    """The dispatcher's registry: the same files and the same classes, but failures count."""

    def __init__(self, search_path: Path) -> None:
        super().__init__(search_path)
        self.failure: ConfigurationError | None = None
        self.skipped: dict[type, str] = {}

    def _load_module(self, file_path: Path) -> ModuleType:
        name = file_path.parent.name if file_path.name == "__init__.py" else file_path.stem
        try:
            return _module(name, file_path) or super()._load_module(file_path)
        # SystemExit as well: a script that ends itself is no module.
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's code; told as a refusal, with its line
            self.failure = self.failure or _not_importable(str(file_path), error)
            return ModuleType(name)

    def _register_module_agents(self, module: ModuleType, file_path: Path) -> None:
        # The registry takes a class that two files import for two agents of one id: it is shown each class once.
        fresh = ModuleType(module.__name__)
        known: set[type] = {registered.cls for registered in self.agents.values()}
        for name, cls in _agent_classes(module):
            if not issubclass(cls, StatefulAgent):
                self.skipped.setdefault(
                    cls, f"{name} in {file_path} is no StatefulAgent and is not served: {_CHANGE_BASE}"
                )
            elif cls not in known:
                known.add(cls)
                setattr(fresh, name, cls)
        super()._register_module_agents(fresh, file_path)


def _agent_classes(module: ModuleType) -> Iterator[tuple[str, type]]:
    for name, cls in inspect.getmembers(module, inspect.isclass):
        named = getattr(cls, "agent_id", None) or getattr(cls, "AGENT_ID", None)
        if issubclass(cls, ConversimpleAgent) and named:
            yield name, cls


def _module(name: str, file_path: Path) -> ModuleType | None:
    """Import a file under the name by which its siblings import it, so that each class exists once.

    The SDK gives modules names of its own, under which classes exist twice, and packages cannot import their parts.

    Returns:
        None if another module has that name.
    """
    there = sys.modules.get(name)
    if there is not None:
        file = getattr(there, "__file__", None)
        return there if file is not None and Path(file).resolve() == file_path.resolve() else None
    places = [str(file_path.parent)] if file_path.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(name, file_path, submodule_search_locations=places)
    if spec is None or spec.loader is None:
        return None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def _named(target: str) -> tuple[str, type[StatefulAgent]]:
    module, _, name = target.partition(":")
    try:
        cls: Any = getattr(importlib.import_module(module), name)
    except Exception as error:
        raise _not_importable(target, error) from error
    if not (inspect.isclass(cls) and issubclass(cls, StatefulAgent)):
        raise ConfigurationError(f"{target} is no StatefulAgent", next_step=f"Make it one: {_CHANGE_BASE}")
    return getattr(cls, "agent_id", None) or getattr(cls, "AGENT_ID", None) or name, cls


def _not_importable(what: str, error: BaseException) -> ConfigurationError:
    where = _line_of(what, error)
    reason = error.message if isinstance(error, RedstateError) else str(error)
    return ConfigurationError(
        f"{what} cannot be imported{where}: {type(error).__name__}{f': {reason}' if reason else ''}",
        next_step="Mend it, or move what is no agent's module out of the folder",
    )


def _line_of(what: str, error: BaseException) -> str:
    lines = []
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == what:
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    return f" (line {lines[-1]})" if lines else ""


def _nothing_found(path: str, skipped: dict[type, str]) -> ConfigurationError:
    if skipped:
        return ConfigurationError(
            f"no agent in {path} can be served: {'; '.join(skipped.values())}", next_step="Mend the classes"
        )
    return ConfigurationError(
        f"there is no agent in {path}",
        next_step="Put a subclass of redstate.conversimple.StatefulAgent with an agent_id into a .py file there",
    )
