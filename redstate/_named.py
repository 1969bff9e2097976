"""What is named as ``module:NAME``: imported, or refused in words."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from redstate.errors import ConfigurationError, RedstateError


def module_and_name(target: str, what: str, example: str) -> tuple[str, str]:
    """The two parts of ``module:NAME``.

    Args:
        target: both.
        what: what it is to name, for the error.
        example: likewise.

    Raises:
        ConfigurationError: it is written otherwise.
    """
    module_name, _, name = target.partition(":")
    if not all(part.isidentifier() for part in module_name.split(".")) or not name.isidentifier():
        raise ConfigurationError(f"{target!r} names no {what}", next_step=f"Write it as module:NAME, such as {example}")
    return module_name, name


def imported(name: str) -> Any:
    """The module of that name.

    Raises:
        ConfigurationError: there is none, or it cannot be imported.
    """
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


def search_current_folder() -> None:
    """Have modules of the current folder found first, as ``python -m`` does."""
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)


def named_merge(target: str) -> Any:
    """The function that makes what goes into a customer's profile, named as ``module:NAME``.

    Raises:
        ConfigurationError: the module or the function is not there.
    """
    module_name, name = module_and_name(target, "merge function", "shop.profiles:merge")
    found = getattr(imported(module_name), name, None)
    if not callable(found):
        what = f"{name} of {module_name} is no function" if found is not None else f"{module_name} has no {name}"
        raise ConfigurationError(
            f"{what}, so that it cannot merge",
            next_step="Name a function (EndedConversation, profile) -> mapping, in a module that opens no store",
        )
    return found


def _failed(name: str, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"{name} cannot be imported: {type(error).__name__}: {error}", next_step=f"Try: python -c 'import {name}'"
    )
