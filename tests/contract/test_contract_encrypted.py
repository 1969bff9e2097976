"""The contract once more, for stores that encrypt all values: state, races, transactions, carts, sessions, the lot.

Left out is what counts the bytes that are stored. Races, which are of one colour, have a module of their own.
"""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import servers
from contract import (
    test_contract_cache,
    test_contract_cached,
    test_contract_cart,
    test_contract_checkout,
    test_contract_customer,
    test_contract_customer_merge,
    test_contract_life,
    test_contract_live,
    test_contract_operations,
    test_contract_saved_state,
    test_contract_schema,
    test_contract_session,
    test_contract_state,
    test_contract_workflow,
)
from contract.facade import COLOURS

import redstate

_MODULES = (
    test_contract_cache,
    test_contract_cached,
    test_contract_cart,
    test_contract_checkout,
    test_contract_customer,
    test_contract_customer_merge,
    test_contract_life,
    test_contract_live,
    test_contract_operations,
    test_contract_saved_state,
    test_contract_schema,
    test_contract_session,
    test_contract_state,
    test_contract_workflow,
)
_COUNTS_BYTES = {
    "test_a_checkout_moves_the_lines_so_that_a_full_conversation_can_be_checked_out",
    "test_history_is_bounded_in_bytes_and_keeps_the_newest",
}

for _module in _MODULES:
    for _name, _value in vars(_module).items():
        _fixture = type(_value).__name__ == "FixtureFunctionDefinition"
        _test = _name.startswith("test_") and inspect.isfunction(_value) and _name not in _COUNTS_BYTES
        if (_fixture or _test) and getattr(_value, "__module__", _module.__name__) == _module.__name__:
            globals().setdefault(_name, _value)


@pytest.fixture(scope="session", params=[servers.VALKEY])
def contract_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=COLOURS)
def colour(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store_options() -> dict[str, Any]:
    return {"encryption": redstate.Encryption({"2026-11": bytes(range(32))})}
