"""errors_as_result: what a tool returns to a language model in place of an error, and what it leaves in the log."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from conversimple import tool, tool_async
from conversimple.tools import ToolRegistry, discover_tools

import redstate
from redstate import errors, errors_as_result
from redstate._keys import conversation_key
from redstate.conversimple import StatefulAgent
from redstate.testing import LocalPlatform

REPOSITORY = Path(__file__).resolve().parent.parent
ERRORS = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, Exception)]
REFUSED = errors.StepRefused(
    "booking does not go from greeting to paid",
    workflow="booking",
    step="greeting",
    reason="missing",
    missing={"guests": "a whole number"},
    allowed=["collecting_guests"],
    key="rs:{conv:c1}",
)


def raising(error: Exception) -> Callable[[], Any]:
    def fail() -> Any:
        raise error

    return fail


# The dict -------------------------------------------------------------------------------------------------------------


def test_an_error_becomes_a_dict_with_what_happened_and_what_to_do() -> None:
    answer = errors_as_result(raising(errors.CartEmpty("The cart is empty", key="rs:{conv:c1}")))()
    assert answer == {"error": "The cart is empty", "error_type": "CartEmpty", "next_step": "Add something first"}


def test_an_error_tells_the_facts_that_a_model_can_act_on() -> None:
    answer = errors_as_result(raising(REFUSED))()
    assert answer == {
        "error": "booking does not go from greeting to paid",
        "error_type": "StepRefused",
        "next_step": "Collect what is missing, or go to an allowed step",
        "workflow": "booking",
        "step": "greeting",
        "reason": "missing",
        "missing": {"guests": "a whole number"},
        "allowed": ["collecting_guests"],
    }
    late = errors_as_result(raising(errors.TooManyAttempts("Too many", retry_after=12.5, scope="user")))()
    assert (late["retry_after"], late["scope"]) == (13, "user")


def test_what_a_model_is_told_names_no_key() -> None:
    frozen = errors.CartFrozen("The cart of rs:{conv:c1} became order 'o1'", key="rs:{conv:c1}", order_id="o1")
    assert frozen.as_result()["error"] == "The cart of this conversation became order 'o1'"
    changed = errors.TotalChanged(
        "The cart has another total", key="k", expected_total=Decimal("1.50"), current_total=Decimal("2.00")
    )
    assert (changed.as_result()["expected_total"], changed.as_result()["current_total"]) == ("1.50", "2.00")


@pytest.mark.parametrize("cls", ERRORS, ids=lambda cls: cls.__name__)
def test_no_error_tells_keys_operation_ids_or_what_it_does_not_know(cls: type[errors.RedstateError]) -> None:
    assert not {"key", "op_id", "value", "cache_key"} & set(cls.tells)
    answer = errors_as_result(raising(cls("what happened", key="rs:{conv:c}", op_id="op", secret="hush")))()
    assert answer.keys() <= {"error", "error_type", "next_step"}
    assert json.loads(json.dumps(answer)) == answer


@pytest.mark.parametrize("cls", ERRORS, ids=lambda cls: cls.__name__)
def test_what_an_error_tells_is_documented_as_its_attribute(cls: type[errors.RedstateError]) -> None:
    assert all(f"``{name}``" in (inspect.getdoc(cls) or "") for name in cls.tells)


def test_errors_of_a_real_store_are_plain_json_and_quote_no_value(url: str, prefix: str) -> None:
    with redstate.Store.from_url(url, key_prefix=prefix, limits=redstate.Limits(max_value_bytes=100)) as store:
        conversation = store.conversation("c")
        conversation.state.set("note", "hush-hush")
        tools = [
            lambda: conversation.state.increment("note"),
            lambda: conversation.state.set("note", "hush-hush" * 99),
            lambda: conversation.state.set("note", {"a": [object()]}),
            lambda: conversation.state.set("note", "hush-hush", expected_version=7),
            lambda: conversation.cart.add("sku", 0),
            lambda: conversation.cart.add("sku", 1, Decimal("-1")),
            lambda: store.conversation(""),
        ]
        answers = [errors_as_result(tool)() for tool in tools]
    assert [answer["error_type"] for answer in answers] == [
        "WrongType", "TooLarge", "UnsupportedValue", "ConflictError", "InvalidQuantity", "InvalidPrice", "InvalidId",
    ]  # fmt: skip
    assert json.loads(json.dumps(answers)) == answers
    assert "hush" not in json.dumps(answers)
    assert answers[2]["path"] == "note.a[0]"


@pytest.mark.parametrize("cls", [cls for cls in ERRORS if issubclass(cls, errors.StoreError)], ids=lambda c: c.__name__)
def test_an_error_of_the_server_tells_a_model_neither_its_address_nor_how_to_mend_it(
    cls: type[errors.StoreError],
) -> None:
    answer = errors_as_result(
        raising(cls("Cannot connect to 10.0.0.7:6379", address="10.0.0.7:6379", key="rs:{conv:c}"))
    )()
    assert answer == {"error": cls.spoken, "error_type": cls.__name__}
    assert "nothing was changed" in answer["error"]


def test_a_server_that_is_not_there_is_told_without_its_address(prefix: str) -> None:
    with redstate.Store.from_url("redis://127.0.0.1:1", key_prefix=prefix, timeout=1.0) as store:
        answer = errors_as_result(store.conversation("c").state.set)("a", 1)
    assert answer == {
        "error": "The state could not be reached; nothing was changed",
        "error_type": "ServerUnavailable",
    }


def test_an_error_with_a_shape_of_its_own_offers_it() -> None:
    class OutOfStock(errors.RedstateError):
        def as_result(self) -> dict[str, Any]:
            return {**super().as_result(), "substitute": "sku-2"}

    assert errors_as_result(raising(OutOfStock("sku-1 is sold out")))()["substitute"] == "sku-2"


# What passes through --------------------------------------------------------------------------------------------------


def test_a_result_passes_through() -> None:
    assert errors_as_result(lambda number: {"n": number})(7) == {"n": 7}


def test_other_exceptions_pass_through() -> None:
    with pytest.raises(KeyError):
        errors_as_result(raising(KeyError("x")))()


def test_named_exceptions_become_results_without_their_text(caplog: pytest.LogCaptureFixture) -> None:
    answer = errors_as_result(also=(LookupError, OSError))(raising(KeyError("card 4111")))()
    assert answer == {"error": "It failed with KeyError", "error_type": "KeyError"}
    assert "4111" not in caplog.text


def test_an_error_of_redstate_keeps_its_words_where_its_base_is_named() -> None:
    answer = errors_as_result(also=(ValueError,))(raising(errors.InvalidId("The id is empty")))()
    assert (answer["error"], answer["error_type"]) == ("The id is empty", "InvalidId")


def test_cancellation_passes_through() -> None:
    @errors_as_result(also=(Exception,))
    async def wait() -> None:
        await asyncio.Event().wait()

    async def scenario() -> None:
        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())


@pytest.mark.parametrize("also", [KeyError, [KeyError], ("KeyError",), (KeyboardInterrupt,), (KeyError("x"),)])
def test_what_is_named_must_be_a_tuple_of_exception_classes(also: Any) -> None:
    with pytest.raises(TypeError, match="also="):
        errors_as_result(also=also)


@pytest.mark.parametrize("function", [KeyError, 7, "name"])
def test_what_is_decorated_must_be_a_function(function: Any) -> None:
    with pytest.raises(TypeError, match="function"):
        errors_as_result(function)


# The log --------------------------------------------------------------------------------------------------------------


def test_one_line_names_function_class_and_conversation(caplog: pytest.LogCaptureFixture) -> None:
    key = conversation_key("my:shop", "call 7\n{x}")

    @errors_as_result
    def book(name: str) -> None:
        raise errors.WrongType("Field 'a' does not hold a list", key=key, field="a")

    book("ada")
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("redstate", logging.WARNING)
    function = f"{test_one_line_names_function_class_and_conversation.__name__}.<locals>.book"
    assert record.getMessage() == f"{function} returned WrongType as its result in conversation 'call 7\\n{{x}}'"
    assert record.exc_info is None


@pytest.mark.parametrize("data", [{}, {"key": None}, {"key": "rs:{cust:9}"}, {"key": "the server"}])
def test_without_a_known_conversation_none_is_named(data: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    errors_as_result(raising(errors.StoreError("No", **data)))()
    assert caplog.messages == ["raising.<locals>.fail returned StoreError as its result"]


# The function ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decorate", [errors_as_result, errors_as_result(), errors_as_result(also=(KeyError,))])
def test_name_signature_docstring_and_colour_stay(decorate: Any) -> None:
    def book(self: Any, guests: int, *, name: str = "ada") -> dict[str, Any]:
        """Book a table."""
        return {"guests": guests}

    async def book_async(self: Any, guests: int) -> dict[str, Any]:
        return {"guests": guests}

    decorated = decorate(book)
    assert (decorated.__name__, decorated.__doc__) == ("book", "Book a table.")
    assert inspect.signature(decorated) == inspect.signature(book)
    assert decorated(None, 2) == {"guests": 2}
    assert inspect.iscoroutinefunction(decorate(book_async)) and not inspect.iscoroutinefunction(decorated)
    assert asyncio.run(decorate(book_async)(None, 2)) == {"guests": 2}


class Above:
    """The decorator above the SDK's."""

    @errors_as_result
    @tool("Add an item")
    def add(self, sku: str, quantity: int = 1) -> dict:
        raise REFUSED

    @errors_as_result(also=(KeyError,))
    @tool_async("Add an item later")
    async def add_later(self, sku: str, quantity: int = 1) -> dict:
        raise REFUSED


class Below:
    """The decorator below the SDK's."""

    @tool("Add an item")
    @errors_as_result
    def add(self, sku: str, quantity: int = 1) -> dict:
        raise REFUSED

    @tool_async("Add an item later")
    @errors_as_result(also=(KeyError,))
    async def add_later(self, sku: str, quantity: int = 1) -> dict:
        raise REFUSED


class Bare:
    """No decorator but the SDK's."""

    @tool("Add an item")
    def add(self, sku: str, quantity: int = 1) -> dict:
        raise REFUSED

    @tool_async("Add an item later")
    async def add_later(self, sku: str, quantity: int = 1) -> dict:
        raise REFUSED


def registered(agent: object) -> ToolRegistry:
    registry = ToolRegistry()
    for method, info in discover_tools(agent):
        register = registry.register_sync_tool if info["type"] == "sync" else registry.register_async_tool
        register(method, info["description"])
    return registry


@pytest.mark.parametrize("agent_class", [Above, Below])
def test_the_sdk_sees_the_same_tools_with_the_decorator_above_or_below_its_own(agent_class: type) -> None:
    registry = registered(agent_class())
    assert registry.get_registered_tools() == registered(Bare()).get_registered_tools()
    for name in ("add", "add_later"):
        answer = asyncio.run(registry.execute_tool(name, {"sku": "sku-1"}))
        assert answer["missing"] == {"guests": "a whole number"}


def test_a_tool_of_an_agent_answers_the_platform_with_the_error(url: str, prefix: str) -> None:
    class Shop(StatefulAgent):
        @tool("counts")
        @errors_as_result
        def count(self) -> dict:
            return {"n": self.conversation().state.increment("name")}

    async def scenario() -> dict[str, Any]:
        with redstate.Store.from_url(url, key_prefix=prefix) as store:
            async with LocalPlatform() as platform:
                agent = Shop(api_key="key", platform_url=platform.url, store=store)
                await agent.start()
                started = await platform.start_conversation()
                await asyncio.to_thread(store.conversation(started.id).state.set, "name", "ada")
                answer = (await platform.call(started.id, "count")).result
                await agent.stop()
                return answer

    answer = asyncio.run(scenario())
    assert (answer["error_type"], answer["field"]) == ("WrongType", "name")
    assert answer["next_step"] and "ada" not in str(answer)


def test_types_are_kept_under_strict_checking(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    (tmp_path / "tools.py").write_text(
        "from collections.abc import Callable, Coroutine\n"
        "from typing import Any, assert_type\n"
        "from redstate import errors_as_result\n"
        "\n"
        "@errors_as_result\n"
        "def plain(sku: str, quantity: int = 1) -> list[int]:\n"
        "    return [quantity]\n"
        "\n"
        "@errors_as_result(also=(KeyError,))\n"
        "async def awaited(sku: str) -> dict[str, Any]:\n"
        "    return {}\n"
        "\n"
        "async def use() -> None:\n"
        "    assert_type(plain('a', quantity=2), list[int] | dict[str, Any])\n"
        "    assert_type(await awaited('a'), dict[str, Any])\n"
        "    plain(7)  # refused\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", str(tmp_path / "tools.py")]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY)
    assert [line.partition(": ")[2] for line in ran.stdout.splitlines() if "error:" in line] == [
        'error: Argument 1 to "plain" has incompatible type "int"; expected "str"  [arg-type]'
    ], ran.stdout
