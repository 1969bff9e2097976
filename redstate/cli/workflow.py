"""The workflow commands."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import click

from redstate.errors import ConfigurationError, RedstateError
from redstate.workflow.definition import Workflow
from redstate.workflow.diagram import mermaid
from redstate.workflow.diagram_svg import svg


def diagram(target: str, kind: str | None, output: str | None) -> int:
    """Draw the workflow at ``module:NAME``.

    Args:
        target: where the definition is imported from.
        kind: "mermaid" or "svg"; by default what the ending of the output file says, else Mermaid.
        output: the file to write; standard output by default.

    Raises:
        ConfigurationError: there is no such workflow, or the file cannot be written.
    """
    workflow = find(target)
    if kind is None:
        kind = "svg" if output is not None and output.lower().endswith(".svg") else "mermaid"
    text = svg(workflow) if kind == "svg" else mermaid(workflow)
    if output is None:
        click.echo(text, nl=False)
        return 0
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"{output} cannot be written: {error.strerror}", next_step="Name a file in a folder that can be written to"
        ) from None
    return 0


def find(target: str) -> Workflow:
    """The workflow at ``module:NAME``; the current folder is searched first, as ``python -m`` does.

    Raises:
        ConfigurationError: the module or the name is not there, or it names something else.
    """
    module_name, _, name = target.partition(":")
    if not all(part.isidentifier() for part in module_name.split(".")) or not name.isidentifier():
        raise ConfigurationError(
            f"{target!r} names no workflow", next_step="Write it as module:NAME, such as shop.flows:BOOKING"
        )
    module = _imported(module_name)
    found = {key: value for key, value in vars(module).items() if isinstance(value, Workflow)}
    if name in found:
        return found[name]
    others = f"It has the workflows {', '.join(sorted(found))}" if found else "It has no workflow at all"
    what = f"{name} of {module_name} is no Workflow" if hasattr(module, name) else f"{module_name} has no {name}"
    raise ConfigurationError(what, next_step=others)


def _imported(name: str) -> object:
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    except RedstateError:
        raise
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _failed(name, error) from error
        raise ConfigurationError(
            f"There is no module {error.name}", next_step="Run this in the folder that holds it, or install it"
        ) from None
    except Exception as error:  # the module is the user's: whatever it raises is told, not thrown
        raise _failed(name, error) from error


def _failed(name: str, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"{name} cannot be imported: {type(error).__name__}: {error}", next_step=f"Try: python -c 'import {name}'"
    )
