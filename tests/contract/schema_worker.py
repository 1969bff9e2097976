"""A process of the tests: serves one conversation with the schema of one version, while another serves it with another.

Version 2 knows the price in cents beside the price, and a language. It prints what it saw go wrong; nothing should.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from redstate import Schema, Store

ROUNDS = 60


@dataclass
class Shop:
    name: str
    price: Decimal = Decimal(0)
    turns: int = 0
    seen: list[str] = field(default_factory=list)


@dataclass
class SecondShop:
    name: str
    price: Decimal = Decimal(0)
    cents: int = 0
    turns: int = 0
    seen: list[str] = field(default_factory=list)
    language: str = "en"


def to_second(state: dict[str, Any]) -> dict[str, Any]:
    # Derived each time, as workers of version 1 go on writing the price.
    return {"language": "en", **state, "cents": int(state.get("price", 0) * 100)}


FIRST = Schema(Shop)
SECOND = Schema(SecondShop, version=2, upcasters={1: to_second})


def serve_first(store: Store, name: str) -> list[str]:
    conversation, wrong = store.conversation(name, schema=FIRST), []
    for turn in range(ROUNDS):
        conversation.state.update(price=Decimal(turn), name=f"first {turn}")
        conversation.state.append("seen", "first")
        conversation.state.increment("turns")
        if type(conversation.typed()) is not Shop:
            wrong.append("no Shop")
    return wrong


def serve_second(store: Store, name: str) -> list[str]:
    conversation, wrong = store.conversation(name, schema=SECOND), []
    conversation.state.set("language", "fr")
    for turn in range(ROUNDS):
        conversation.state.update(price=Decimal(turn) / 4, cents=turn * 25, name=f"second {turn}")
        conversation.state.append("seen", "second")
        conversation.state.increment("turns")
        shop = conversation.typed()
        if shop.cents != shop.price * 100:
            wrong.append(f"{shop.cents} cents are not {shop.price}")
        if shop.language != "fr":
            wrong.append("the language is lost")
    return wrong


def main(url: str, prefix: str, name: str, version: str) -> None:
    with Store.from_url(url, key_prefix=prefix, timeout=60) as store:
        store.ping()
        print("ready", flush=True)
        sys.stdin.readline()
        print((serve_first if version == "1" else serve_second)(store, name), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
