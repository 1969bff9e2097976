"""Races once more, for stores that encrypt all values: what a script does with plain values is compare-and-set here."""

from __future__ import annotations

from contract.test_contract_encrypted import contract_kind, store_options
from contract.test_contract_races import *  # noqa: F403 - every test of it
from contract.test_contract_races import colour

__all__ = ["colour", "contract_kind", "store_options"]
