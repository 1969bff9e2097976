"""What users can import: complete, alike in both colours, cheap to import, and as the docstrings draw it."""

from __future__ import annotations

import ast
import inspect
import pickle
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import redstate
from redstate import errors

REPOSITORY = Path(__file__).resolve().parent.parent
TWINS = [
    (redstate.AsyncStore, redstate.Store),
    (redstate.AsyncConversation, redstate.Conversation),
    (redstate.AsyncState, redstate.State),
    (redstate.AsyncTypedConversation, redstate.TypedConversation),
    (redstate.AsyncCart, redstate.Cart),
    (redstate.AsyncCustomer, redstate.Customer),
    (redstate.AsyncSession, redstate.Session),
    (redstate.AsyncWorkflowRun, redstate.WorkflowRun),
    (redstate.AsyncCache, redstate.Cache),
    (redstate.AsyncCachedFunction, redstate.CachedFunction),
]
ERRORS = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, Exception)]


def test_the_public_names_are_sorted_complete_and_importable() -> None:
    assert redstate.__all__ == sorted(redstate.__all__, key=lambda name: (not name.isupper(), name))
    public = {
        name for name, value in vars(redstate).items()
        if not name.startswith("_") and not (isinstance(value, ModuleType) and name != "errors")
    }  # fmt: skip
    assert set(redstate.__all__) == public | {"__version__"}
    assert all(getattr(redstate, name) is not None for name in redstate.__all__)


def test_every_public_name_is_documented() -> None:
    for name in set(redstate.__all__) - {"__version__"}:
        assert inspect.getdoc(getattr(redstate, name)), name


def signatures(cls: type) -> dict[str, list[tuple[str, Any, Any, str]]]:
    """Each public method's parameters, with annotations as if they were of the blocking colour."""
    found = {}
    for name, value in vars(cls).items():
        function = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
        if inspect.isfunction(function) and not name.startswith("_"):
            signature = inspect.signature(function)
            parameters = [*signature.parameters.values()]
            result = str(signature.return_annotation).replace("Async", "")
            found[name] = [(p.name, p.kind, p.default, str(p.annotation).replace("Async", "")) for p in parameters]
            found[name].append(("return", None, None, result))
    return found


def public(cls: type) -> set[str]:
    return {name for name in dir(cls) if not name.startswith("_")}


@pytest.mark.parametrize(("twin", "blocking"), TWINS, ids=lambda cls: cls.__name__)
def test_both_colours_have_the_same_methods_and_parameters(twin: type, blocking: type) -> None:
    assert signatures(twin) == signatures(blocking)
    if issubclass(blocking, dict):  # len() and the operators of dict do there what is awaited by name here
        assert public(twin) - {"length"} == public(blocking) - {"fromkeys"}
    else:
        assert set(dir(twin)) - {"__aenter__", "__aexit__"} == set(dir(blocking)) - {"__enter__", "__exit__"}


@pytest.mark.parametrize(("twin", "blocking"), TWINS, ids=lambda cls: cls.__name__)
def test_what_does_io_is_awaited_in_one_colour_and_only_there(twin: type, blocking: type) -> None:
    awaited = {name for name, value in vars(twin).items() if inspect.iscoroutinefunction(value)}
    assert awaited
    assert not {name for name, value in vars(blocking).items() if inspect.iscoroutinefunction(value)}


def test_every_change_takes_an_op_id_and_an_expected_version() -> None:
    changes = {redstate.State: {"set", "update", "delete", "increment", "append"}, redstate.Conversation: {"delete"},
               redstate.WorkflowRun: {"start", "advance", "collect", "back", "cancel"},
               redstate.Cart: {"add", "set_quantity", "set_attributes", "remove", "clear", "checkout",
                               "start_over"}}  # fmt: skip
    for cls, names in changes.items():
        for name in names:
            parameters = inspect.signature(getattr(cls, name)).parameters
            for guard in ("op_id", "expected_version"):
                assert parameters[guard].kind is inspect.Parameter.KEYWORD_ONLY
                assert parameters[guard].default is None


# Errors ---------------------------------------------------------------------------------------------------------------


def drawn_tree() -> dict[str, str]:
    """Name → name of its parent, as the docstring of the module draws it."""
    parents, trail = {}, ["RedstateError"]
    for line in (errors.__doc__ or "").splitlines():
        branch = re.match(r"^([│ ]*)[├└]── (\w+)", line)
        if branch:
            depth = len(branch[1]) // 4 + 1
            del trail[depth:]
            parents[branch[2]] = trail[-1]
            trail.append(branch[2])
    return parents


def test_the_drawn_tree_of_errors_is_the_real_one() -> None:
    real = {cls.__name__: cls.__bases__[0].__name__ for cls in ERRORS if cls is not errors.RedstateError}
    assert drawn_tree() == real


def test_errors_are_named_as_users_import_them() -> None:
    """In tracebacks and pickles, too: in which file one stands is nobody's business."""
    assert {cls.__module__ for cls in ERRORS} == {"redstate.errors"}
    assert set(errors.__all__) == {cls.__name__ for cls in ERRORS}
    assert b"redstate.errors." not in pickle.dumps(errors.InvalidId("message"))
    assert not {name for name in vars(errors) if not name.startswith("_")} - set(errors.__all__) - {"annotations"}


@pytest.mark.parametrize("cls", ERRORS, ids=lambda cls: cls.__name__)
def test_an_error_survives_pickling_with_its_data(cls: type[errors.RedstateError]) -> None:
    error = cls("what happened", next_step="what to do", key="rs:{conv:c}", current_version=7)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is cls
    assert (copy.message, copy.next_step, copy.data, str(copy)) == (
        error.message,
        error.next_step,
        error.data,
        str(error),
    )
    assert (copy.key, copy.current_version) == ("rs:{conv:c}", 7)


@pytest.mark.parametrize("cls", ERRORS, ids=lambda cls: cls.__name__)
def test_an_error_explains_itself_and_says_what_to_do(cls: type[errors.RedstateError]) -> None:
    assert inspect.getdoc(cls)
    general = {"RedstateError", "InvalidInput", "Rejected", "DataError", "StoreError", "ServerRefused",
               "ConfigurationError", "MissingExtra"}  # fmt: skip
    assert cls.advice or cls.__name__ in general


def test_no_error_of_the_inside_is_public() -> None:
    from redstate._replies import ReplyError
    from redstate.transport.base import ConnectionBroken, ReplyLost

    assert not any(issubclass(inner, errors.RedstateError) for inner in (ReplyError, ConnectionBroken, ReplyLost))


# Imports --------------------------------------------------------------------------------------------------------------


def modules_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=REPOSITORY)
    return set(ran.stdout.split())


def test_importing_redstate_does_not_import_what_only_some_need() -> None:
    heavy = {
        "redis",
        "sqlalchemy",
        "pydantic",
        "conversimple",
        "click",
        "rich",
        "websockets",
        "prometheus_client",
        "pytest",
        "cryptography",
    }
    assert not modules_after("import redstate") & heavy


def test_workers_and_the_demo_need_no_database() -> None:
    modules = modules_after(
        "import redstate.demo.run, redstate.conversimple.runner, redstate.cli.app, redstate.cli.run"
    )
    assert not modules & {"sqlalchemy", "psycopg", "cryptography"}


def imported_by(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", sorted((REPOSITORY / "redstate" / "calls").glob("*.py")), ids=lambda path: path.stem)
def test_calls_are_pure(path: Path) -> None:
    """They describe what to do; nothing that could do it is within their reach."""
    impure = {"redis", "asyncio", "socket", "threading", "time", "hiredis", "ssl", "select"}
    assert not {name.partition(".")[0] for name in imported_by(path)} & impure
    assert not {name for name in imported_by(path) if re.match(r"redstate\.(transport|_async|_sync|_discovery)", name)}


def test_the_blocking_colour_is_as_generated() -> None:
    check = [sys.executable, str(REPOSITORY / "tools" / "generate_sync.py"), "--check"]
    pytest.importorskip("unasync")
    ran = subprocess.run(check, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_generated_files_say_so_on_their_first_line() -> None:
    for path in (REPOSITORY / "redstate" / "_sync").glob("*.py"):
        assert path.read_text().splitlines()[0].startswith(f"# Generated from redstate/_async/{path.name}")


def test_the_blocking_colour_neither_awaits_nor_imports_asyncio() -> None:
    for path in (REPOSITORY / "redstate" / "_sync").glob("*.py"):
        assert "asyncio" not in imported_by(path)
        assert not re.search(r"\b(await|async)\b", path.read_text().partition("\n")[2].replace("_async", ""))
