"""The workflow commands."""

from __future__ import annotations

from pathlib import Path

import click

from redstate._named import imported, module_and_name, search_current_folder
from redstate.errors import ConfigurationError
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
    module_name, name = module_and_name(target, "workflow", "shop.flows:BOOKING")
    search_current_folder()
    module = imported(module_name)
    found = {key: value for key, value in vars(module).items() if isinstance(value, Workflow)}
    if name in found:
        return found[name]
    others = f"It has the workflows {', '.join(sorted(found))}" if found else "It has no workflow at all"
    what = f"{name} of {module_name} is no Workflow" if hasattr(module, name) else f"{module_name} has no {name}"
    raise ConfigurationError(what, next_step=others)
