"""State that is held to a schema: what is written is judged, what is read is typed, versions serve side by side."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, NotRequired

import pytest
from contract.records import Record
from contract.schema_worker import FIRST, ROUNDS, SECOND, SecondShop, Shop
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from typing_extensions import TypedDict

from redstate import Schema, errors
from redstate._codec import Codec

WORKER = Path(__file__).with_name("schema_worker.py")


class Size(Enum):
    SMALL = "s"
    LARGE = "l"


@dataclass
class Item:
    sku: str
    quantity: int = 1


@dataclass
class Order:
    name: str
    cart: list[Item] = field(default_factory=list)
    turns: int = 0
    prefs: dict[str, int] = field(default_factory=dict)
    left: Annotated[int, Field(ge=0)] = 3
    tags: Annotated[list[str], Field(max_length=2)] = field(default_factory=list)
    day: date | None = None
    size: Size = Size.SMALL
    note: Any = None


class OrderDict(TypedDict):
    name: str
    cart: NotRequired[list[Item]]
    turns: NotRequired[int]
    prefs: NotRequired[dict[str, int]]
    left: NotRequired[Annotated[int, Field(ge=0)]]
    tags: NotRequired[Annotated[list[str], Field(max_length=2)]]


class OrderModel(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=False)
    name: str
    cart: list[Item] = []
    turns: int = 0
    prefs: dict[str, int] = {}
    left: int = Field(default=3, ge=0, alias="attemptsLeft")
    tags: list[str] = Field(default=[], max_length=2)

    @field_validator("name")
    @classmethod
    def _named(cls, name: str) -> str:
        if name == "nobody":
            raise ValueError(f"{name} is not allowed")
        return name.strip()


KINDS = [Order, OrderDict, OrderModel]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def order(request: pytest.FixtureRequest, store: Any) -> Any:
    """A conversation that is held to each kind of class."""
    return store.conversation("conv_123", schema=request.param)


@pytest.fixture
def shop(store: Any) -> Any:
    return store.conversation("conv_123", schema=Order)


def refused(change: Callable[[], Any], record: Record, error: type[errors.RedstateError] = errors.InvalidValue) -> Any:
    """The error of a change that must leave the record byte for byte as it is."""
    image = record.image()
    with pytest.raises(error) as caught:
        change()
    assert record.image() == image
    assert caught.value.__cause__ is None and caught.value.__context__ is None
    return caught.value


# Writing --------------------------------------------------------------------------------------------------------------


def test_what_fits_is_stored_as_the_schema_has_it(order: Any, store: Any) -> None:
    order.state.update(name="Ada", turns="4", cart=[{"sku": "x", "quantity": "2"}, Item("y")])
    assert store.conversation("conv_123").state.all() == {
        "name": "Ada",
        "turns": 4,
        "cart": [{"sku": "x", "quantity": 2}, {"sku": "y", "quantity": 1}],
    }


@pytest.mark.parametrize(
    ("values", "path", "expected"),
    [
        ({"name": 5}, "name", "a valid string"),
        ({"turns": "s3cret"}, "turns", "a valid integer"),
        ({"turns": None}, "turns", "a valid integer"),
        ({"left": -1}, "left", "greater than or equal to 0"),
        ({"cart": {}}, "cart", "a valid list"),
        ({"cart": [{"sku": "x"}, {"sku": "y", "quantity": "s3cret"}]}, "cart[1].quantity", "a valid integer"),
        ({"cart": [{"quantity": 1}]}, "cart[0].sku", "a value: the field is required"),
        ({"prefs": {"a b": "s3cret"}}, 'prefs["a b"]', "a valid integer"),
        ({"tags": ["a", "b", "c"]}, "tags", "a list with at most 2 items"),
        ({"name": "Ada", "turns": []}, "turns", "a valid integer"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_its_place(
    order: Any, record: Record, values: dict[str, Any], path: str, expected: str
) -> None:
    order.state.set("name", "before")
    error = refused(lambda: order.state.update(values), record)
    assert (error.path, error.expected) == (path, expected)
    assert "s3cret" not in str(error) and "s3cret" not in str(error.as_result())


def test_a_field_that_the_schema_does_not_have_is_refused(order: Any, record: Record) -> None:
    order.state.set("name", "Ada")
    for change in (
        lambda: order.state.set("nmae", "Ada"),
        lambda: order.state.update(name="Bob", nmae=1),
        lambda: order.state.increment("nmae"),
        lambda: order.state.append("nmae", 1),
        lambda: order.state.edit("nmae", lambda _: 1),
        lambda: order.state.setdefault("nmae", 1),
        lambda: order.state.delete("nmae"),
        lambda: order.state.pop("nmae", None),
    ):
        error = refused(change, record)
        assert error.path == "nmae"
        assert error.expected.startswith("one of the fields name, cart, turns")


def test_a_validator_of_the_class_judges_each_write_and_is_not_quoted(store: Any, record: Record) -> None:
    order = store.conversation("conv_123", schema=OrderModel)
    order.state.set("name", "  Ada ")
    assert order.state.get("name") == "Ada"
    error = refused(lambda: order.state.set("name", "nobody"), record)
    assert (error.path, "nobody" in str(error)) == ("name", False)


def test_the_fields_of_a_model_have_their_own_names_not_their_aliases(store: Any, record: Record) -> None:
    order = store.conversation("conv_123", schema=OrderModel)
    order.state.update(name="Ada", left=2)
    assert order.typed().left == 2
    refused(lambda: order.state.set("attemptsLeft", 1), record)


def test_values_keep_their_types(shop: Any) -> None:
    shop.state.update(name="Ada", day="2026-05-01", size="l", note=Item("x"))
    assert shop.state.all() == {"name": "Ada", "day": date(2026, 5, 1), "size": Size.LARGE, "note": Item("x")}
    assert shop.typed() == Order("Ada", day=date(2026, 5, 1), size=Size.LARGE, note=Item("x"))


def test_a_strict_class_takes_nothing_that_has_to_be_coerced(store: Any, record: Record) -> None:
    class Strict(BaseModel):
        model_config = ConfigDict(strict=True)
        turns: int = 0
        item: Item | None = None

    strict = store.conversation("conv_123", schema=Strict)
    strict.state.update(turns=3, item=Item("x"))
    assert refused(lambda: strict.state.set("turns", "3"), record).expected == "a valid integer"
    assert strict.typed() == Strict(turns=3, item=Item("x"))


def test_an_instance_is_judged_by_what_is_in_it(shop: Any, record: Record) -> None:
    shop.state.set("name", "Ada")
    assert refused(lambda: shop.state.set("cart", [Item("x", "many")]), record).path == "cart[0].quantity"


def test_what_cannot_be_taken_apart_is_refused(store: Any, record: Record) -> None:
    @dataclass(frozen=True)
    class Point:
        x: int

    class Drawing(BaseModel):
        points: set[Point] = set()
        where: Path = Path()

    drawing = store.conversation("conv_123", schema=Drawing)
    assert refused(lambda: drawing.state.set("points", {Point(1)}), record, errors.UnsupportedValue).path == "points"
    assert refused(lambda: drawing.state.set("where", "/x"), record, errors.UnsupportedValue).path == "where"


def test_a_required_field_is_not_taken_out(order: Any, record: Record) -> None:
    order.state.update(name="Ada", turns=1)
    for change in (
        lambda: order.state.delete("turns", "name"),
        lambda: order.state.pop("name"),
        order.state.clear,
    ):
        assert refused(change, record).path == "name"
    assert order.state.popitem() == ("turns", 1)
    assert refused(order.state.popitem, record).path == "name"
    order.state.set("turns", 2)
    assert (order.state.pop("turns"), order.state.delete("turns")) == (2, 0)


def test_numbers_and_lists_that_the_schema_bounds_stay_within(order: Any, record: Record) -> None:
    assert order.state.increment("left", 2) == (2 if order.schema.cls is OrderDict else 5)
    order.state.set("left", 1)
    assert order.state.increment("left", -1) == 0
    error = refused(lambda: order.state.increment("left", -1), record)
    assert (error.path, error.expected) == ("left", "greater than or equal to 0")
    order.state.append("tags", "a")
    order.state.append("tags", "b")
    assert refused(lambda: order.state.append("tags", "c"), record).path == "tags"
    assert refused(lambda: order.state.append("tags", 5), record).path in ("tags", "tags[2]")
    assert order.state.get("tags") == ["a", "b"]
    refused(lambda: order.state.increment("name"), record)
    order.state.set("turns", 1)
    refused(lambda: order.state.append("turns", 1), record, errors.WrongType)


def test_a_field_of_any_type_begins_at_its_default_too(store: Any) -> None:
    class Loose(BaseModel):
        n: Any = 5
        items: Any = [1]
        nothing: Any = None

    loose = store.conversation("conv_123", schema=Loose)
    assert (loose.state.increment("n"), loose.state.increment("nothing")) == (6, 1)
    loose.state.append("items", 2)
    loose.state.append("items", 3)
    assert loose.typed() == Loose(n=6, items=[1, 2, 3], nothing=1)


def test_edit_returns_what_was_stored(order: Any) -> None:
    assert order.state.edit("turns", lambda _: "3") == 3
    assert order.state.edit("turns", lambda turns: turns) == 3
    assert order.state.get("turns") == 3


def test_validators_of_the_whole_class_judge_only_the_whole(store: Any, record: Record) -> None:
    class Range(BaseModel):
        low: int = 0
        high: int = 9

        @model_validator(mode="after")
        def _ordered(self) -> Range:
            if self.low > self.high:
                raise ValueError("low above high")
            return self

    @dataclass
    class Even:
        n: int = 0

        def __post_init__(self) -> None:
            if self.n % 2:
                raise ValueError("odd")

    pair = store.conversation("conv_123", schema=Range)
    pair.state.set("low", 10)
    refused(pair.typed, record, errors.SchemaMismatch)
    pair.state.set("high", 11)
    assert pair.typed() == Range(low=10, high=11)
    even = store.conversation("conv_124", schema=Even)
    even.state.set("n", 1)
    with pytest.raises(errors.SchemaMismatch):
        even.typed()


def test_a_bounded_number_begins_at_its_default(shop: Any) -> None:
    assert shop.state.increment("left", -1) == 2
    assert shop.state.increment("turns", 5) == 5


def test_a_repeat_gets_the_first_result_also_where_it_would_not_fit_any_more(shop: Any, record: Record) -> None:
    assert shop.state.increment("left", -3, op_id="three") == 0
    assert shop.state.increment("left", -3, op_id="three") == 0
    version = shop.state.append("tags", "a", op_id="tag")
    shop.state.append("tags", "b")
    assert shop.state.append("tags", "a", op_id="tag") == version
    assert shop.state.get("tags") == ["a", "b"]
    refused(lambda: shop.state.append("tags", "c", op_id="other"), record)
    refused(lambda: shop.state.increment("left", -1, op_id="other-number"), record)
    refused(lambda: shop.state.increment("left", 1, expected_version=version), record, errors.ConflictError)
    assert shop.state.increment("left", 1, expected_version=shop.version()) == 1


# Reading --------------------------------------------------------------------------------------------------------------


def test_the_whole_is_an_instance_with_defaults_for_what_is_absent(order: Any) -> None:
    order.state.set("name", "Ada")
    order.state.append("cart", Item("x"))
    whole, kind = order.typed(), order.schema.cls
    if kind is OrderDict:
        assert whole == {"name": "Ada", "cart": [Item("x")]}
    else:
        assert whole == kind(name="Ada", cart=[Item("x")])
    assert order.state.get("turns") is None


def test_a_state_that_lacks_a_required_field_says_which(order: Any, record: Record) -> None:
    error = refused(order.typed, record, errors.SchemaMismatch)
    assert (error.key, error.path, error.expected) == (order.key, "name", "a value: the field is required")


def test_what_was_written_past_the_schema_shows_by_its_place(shop: Any, store: Any, record: Record) -> None:
    store.conversation("conv_123").state.update(name="Ada", cart=[{"sku": "x", "quantity": "s3cret"}])
    error = refused(shop.typed, record, errors.SchemaMismatch)
    assert (error.path, error.expected) == ("cart[0].quantity", "a valid integer")
    assert "s3cret" not in str(error)
    record.poke("scart", "[1")
    assert refused(shop.typed, record, errors.CorruptState).field == "scart"


@pytest.mark.parametrize("version", ["", "1", "00001", "x001", "\r\n"])
def test_a_schema_version_that_is_none_is_corrupt_and_stays(shop: Any, record: Record, version: str) -> None:
    shop.state.set("name", "Ada")
    record.poke("y", version)
    for call in (shop.typed, shop.upgrade, lambda: shop.state.set("name", "Bob"), lambda: shop.state.increment("left")):
        assert refused(call, record, errors.CorruptState).field == "y"


def test_a_guarded_handle_is_held_to_the_schema_too(shop: Any, record: Record) -> None:
    shop.state.set("name", "Ada")
    refused(lambda: shop.if_logged_in.state.set("name", "Bob"), record, errors.NotAuthenticated)
    shop.session.login("user-7", username="ada", ttl=900)
    shop.if_logged_in.state.set("name", "Bob")
    refused(lambda: shop.if_logged_in.state.set("name", 5), record)
    assert shop.if_logged_in.typed().name == "Bob"


def test_without_a_schema_nothing_is_stamped(conversation: Any, record: Record, shop: Any) -> None:
    conversation.state.set("name", "Ada")
    assert record.fields("y") == {}
    shop.cart.add("sku-1")
    assert record.fields("y") == {}
    shop.state.set("name", "Bob")
    assert record.fields("y") == {b"y": b"0001"}


# Versions -------------------------------------------------------------------------------------------------------------


def test_state_of_an_older_version_is_read_through_the_upcasters_and_not_changed(store: Any, record: Record) -> None:
    old, new = (store.conversation("conv_123", schema=schema) for schema in (FIRST, SECOND))
    old.state.update(name="Ada", price="1.5")
    image = record.image()
    assert new.typed() == SecondShop("Ada", Decimal("1.5"), 150)
    assert record.image() == image
    old.state.set("price", "2")
    assert new.typed().cents == 200
    assert record.fields("y") == {b"y": b"0001"}


def test_an_older_worker_leaves_alone_what_it_does_not_know(store: Any, record: Record) -> None:
    old, new = (store.conversation("conv_123", schema=schema) for schema in (FIRST, SECOND))
    new.state.update(name="Ada", price=3, cents=300, language="fr")
    assert record.fields("y") == {b"y": b"0002"}
    assert old.typed() == Shop("Ada", Decimal(3))
    refused(lambda: old.state.set("language", "de"), record)
    refused(lambda: old.state.delete("language"), record)
    old.state.set("price", 4)
    assert record.fields("y") == {b"y": b"0001"}
    assert new.typed() == SecondShop("Ada", Decimal(4), 400, language="fr")


def test_an_upgrade_writes_down_what_the_upcasters_make(store: Any, record: Record) -> None:
    old = store.conversation("conv_123", schema=FIRST)
    third = Schema(
        SecondShop,
        version=3,
        upcasters={1: SECOND._upcasters[1], 2: lambda state: {n: v for n, v in state.items() if n != "turns"}},
    )
    new = store.conversation("conv_123", schema=third)
    assert new.upgrade() is False
    old.state.update(name="Ada", price=2, turns=7)
    old.cart.add("sku-1")
    assert new.upgrade() is True
    assert record.fields("y") == {b"y": b"0003"}
    assert store.conversation("conv_123").state.all() == {
        "name": "Ada",
        "price": Decimal(2),
        "language": "en",
        "cents": 200,
    }
    assert new.cart.count() == 1
    image = record.image()
    assert new.upgrade() is False
    assert record.image() == image


def test_an_upgrade_that_fails_changes_nothing(store: Any, record: Record) -> None:
    store.conversation("conv_123", schema=FIRST).state.update(name="Ada", price=2)
    bad = Schema(SecondShop, version=2, upcasters={1: lambda state: {**state, "cents": "many"}})
    assert refused(store.conversation("conv_123", schema=bad).upgrade, record).path == "cents"
    none = Schema(SecondShop, version=2, upcasters={1: lambda state: None})
    refused(store.conversation("conv_123", schema=none).typed, record, errors.InvalidSchema)
    late = Schema(SecondShop, version=3, upcasters={2: dict})
    assert "version 1" in str(refused(store.conversation("conv_123", schema=late).typed, record, errors.SchemaMismatch))


def test_an_upgrade_takes_in_what_another_writer_changed_meanwhile(store: Any, record: Record) -> None:
    old = store.conversation("conv_123", schema=FIRST)
    old.state.update(name="Ada", price=2)
    prices = iter(["3", "4"])
    writes: list[str] = []

    def meddled(state: dict[str, Any]) -> dict[str, Any]:
        for price in prices:
            # Past the store, whose loop is busy running this: the record changes under the upgrade.
            record.poke("sprice", Codec().encode(Decimal(price), "price"))
            version = record.raw.hget(record.key, "v")
            record.poke("v", str(int(version) + 1))
            writes.append(price)
            break
        return {**state, "cents": int(state["price"] * 100)}

    new = store.conversation("conv_123", schema=Schema(SecondShop, version=2, upcasters={1: meddled}))
    assert new.upgrade() is True
    assert writes == ["3", "4"]
    assert new.typed().cents == 400


def test_state_from_before_there_was_a_schema_counts_as_the_oldest_version(store: Any, record: Record) -> None:
    store.conversation("conv_123").state.update(name="Ada", price=Decimal(2))
    new = store.conversation("conv_123", schema=SECOND)
    assert new.typed().cents == 200
    new.state.set("language", "fr")
    assert record.fields("y") == {b"y": b"0001"}
    assert new.typed() == SecondShop("Ada", Decimal(2), 200, language="fr")


def test_what_follows_an_emptied_state_is_of_the_version_of_who_writes_it(store: Any, record: Record) -> None:
    class Small(BaseModel):
        price: Decimal = Decimal(0)

    old = store.conversation("conv_123", schema=Small)
    new = store.conversation(
        "conv_123", schema=Schema(Small, version=2, upcasters={1: lambda state: {**state, "price": Decimal(-1)}})
    )
    for empty in (old.state.clear, lambda: old.state.delete("price")):
        old.state.set("price", 1)
        empty()
        assert record.fields("y") == {b"y": b"0001"}
        assert new.typed().price == 0
        new.state.set("price", 2)
        assert record.fields("y") == {b"y": b"0002"}
        assert new.typed().price == 2


def test_a_state_saved_past_the_schema_counts_as_the_oldest_version(store: Any, record: Record) -> None:
    new = store.conversation("conv_123", schema=SECOND)
    new.state.update(name="Ada", price=1, cents=100)
    store.save_state("conv_123", {"name": "Bob", "price": Decimal(2)})
    assert record.fields("y") == {}
    assert new.typed() == SecondShop("Bob", Decimal(2), 200)
    new.state.set("language", "fr")
    assert record.fields("y") == {b"y": b"0001"}


def test_a_deleted_conversation_begins_at_the_version_of_who_writes_first(store: Any, record: Record) -> None:
    old, new = (store.conversation("conv_123", schema=schema) for schema in (FIRST, SECOND))
    old.state.set("name", "Ada")
    old.delete()
    new.state.set("name", "Bob")
    assert record.fields("y") == {b"y": b"0002"}


def test_two_processes_of_two_versions_serve_side_by_side(store: Any, contract_url: str, prefix: str) -> None:
    workers = [
        subprocess.Popen(
            [sys.executable, str(WORKER), contract_url, prefix, "conv_123", version],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for version in ("1", "2")
    ]
    try:
        assert [worker.stdout.readline() for worker in workers if worker.stdout] == ["ready\n"] * 2
        store.conversation("conv_123", schema=FIRST).state.set("name", "begun")
        results = [worker.stdin.write("go\n") and worker.stdin.flush() for worker in workers if worker.stdin]
        results = [worker.communicate(timeout=60)[0] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert results == ["[]\n", "[]\n"]
    shop = store.conversation("conv_123", schema=SECOND)
    whole = shop.typed()
    assert whole.turns == 2 * ROUNDS
    assert sorted(whole.seen) == ["first"] * ROUNDS + ["second"] * ROUNDS
    assert whole.language == "fr" and whole.cents == whole.price * 100
    shop.upgrade()
    assert shop.typed() == whole
