"""A schema: its definition, what it makes of live values and transactions, its types, and life without pydantic."""

from __future__ import annotations

import asyncio
import dataclasses
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import InitVar, dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, Field, RootModel, SecretStr
from typing_extensions import TypedDict

from redstate import AsyncStore, Schema, Store, errors
from redstate._codec import Codec
from redstate.schema.codec import SchemaCodec

REPOSITORY = Path(__file__).resolve().parent.parent


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
    price: Decimal = Decimal(0)


@pytest.fixture
def store(url: str, prefix: str) -> Iterator[Store]:
    with Store.from_url(url, key_prefix=prefix) as store:
        yield store


@pytest.fixture
def image(url: str, prefix: str) -> Iterator[Callable[[], dict[bytes, bytes]]]:
    """The bytes of the conversation "c"."""
    with redis.Redis.from_url(url) as client:
        yield lambda: client.hgetall(f"{prefix}:{{conv:c}}")


# Live values ----------------------------------------------------------------------------------------------------------


def test_a_change_inside_a_live_value_is_judged(store: Store, image: Callable[[], Any]) -> None:
    shop = store.conversation("c", schema=Order)
    shop.state.update(name="Ada", cart=[Item("x")], prefs={"a": 1}, tags=["a", "b"], left=1)
    cart, prefs, tags = shop.state["cart"], shop.state["prefs"], shop.state["tags"]
    shop.state["left"] -= 1
    before = image()

    def once_more() -> None:
        shop.state["left"] -= 1

    for change in (
        lambda: cart.append({"sku": 5}),
        lambda: cart.extend([Item("y"), {}]),
        lambda: cart.__setitem__(0, "x"),
        lambda: cart[0].__setitem__("quantity", "s3cret"),
        lambda: cart[0].__delitem__("sku"),
        lambda: cart.insert(0, None),
        lambda: prefs.__setitem__("b", "s3cret"),
        lambda: prefs.update(a=1, b=[]),
        lambda: prefs.setdefault("b", {}),
        lambda: tags.append("c"),
        lambda: shop.state.__setitem__("turns", "s3cret"),
        lambda: shop.state.__setitem__("nmae", 1),
        lambda: shop.state.__delitem__("name"),
        lambda: shop.state.__ior__({"turns": "s3cret"}),
        once_more,
    ):
        with pytest.raises(errors.InvalidValue) as caught:
            change()
        assert "s3cret" not in str(caught.value)
        assert image() == before
    cart.append({"sku": "y", "quantity": "2"})
    cart[0]["quantity"] += 4
    shop.state["price"] = "1.50"
    shop.state["price"] += Decimal(1)
    del prefs["a"]
    assert shop.typed() == Order("Ada", [Item("x", 5), Item("y", 2)], left=0, tags=["a", "b"], price=Decimal("2.50"))


def test_a_change_inside_an_awaited_value_is_judged(url: str, prefix: str, image: Callable[[], Any]) -> None:
    async def main() -> None:
        async with AsyncStore.from_url(url, key_prefix=prefix) as store:
            shop = store.conversation("c", schema=Order)
            await shop.state.update(name="Ada", cart=[Item("x")], prefs={"a": 1}, tags=["a", "b"])
            cart, prefs, tags = shop.state["cart"], shop.state["prefs"], shop.state["tags"]
            before = image()
            for change in (
                cart.append({"sku": 5}),
                cart.extend([Item("y"), {}]),
                cart.set(0, "x"),
                cart[0].set("quantity", "s3cret"),
                cart[0].delete("sku"),
                cart.insert(0, None),
                prefs.set("b", "s3cret"),
                prefs.update(a=1, b=[]),
                prefs.setdefault("b", {}),
                tags.append("c"),
            ):
                with pytest.raises(errors.InvalidValue) as caught:
                    await change
                assert "s3cret" not in str(caught.value)
                assert image() == before
            await cart.append({"sku": "y", "quantity": "2"})
            await cart[0].set("quantity", "5")
            async with shop.transaction():
                await shop.state.increment("left", -3)
                with pytest.raises(errors.InvalidValue):
                    await shop.state.increment("left", -1)
                assert (await shop.typed()).left == 0
            assert await shop.typed() == Order("Ada", [Item("x", 5), Item("y", 2)], 0, {"a": 1}, 0, ["a", "b"])

    asyncio.run(main())


def test_a_transaction_is_judged_change_by_change(store: Store) -> None:
    shop = store.conversation("c", schema=Order)
    shop.state["name"] = "Ada"
    before = shop.version()
    with pytest.raises(errors.InvalidValue), shop.transaction():
        shop.state["turns"] = 5
        shop.state["cart"] = [{}]
    assert (shop.version(), shop.state.all()) == (before, {"name": "Ada"})
    with shop.transaction():
        shop.state.append("tags", "a")
        assert shop.state.increment("left", -3) == 0
        for change in (
            lambda: shop.state.increment("left", -1),
            lambda: shop.state.delete("name"),
            lambda: shop.state.append("tags", 5),
            lambda: shop.state.setdefault("nmae", 1),
        ):
            with pytest.raises(errors.InvalidValue):
                change()
        with pytest.raises(errors.ConfigurationError):
            shop.upgrade()
        shop.state["prefs"] = {"a": "1"}
        shop.state["prefs"]["b"] = "2"
        assert shop.typed() == Order("Ada", prefs={"a": 1, "b": 2}, tags=["a"], left=0)
    assert shop.typed() == Order("Ada", prefs={"a": 1, "b": 2}, tags=["a"], left=0)


def test_a_transaction_stamps_the_schema_version(store: Store, image: Callable[[], Any]) -> None:
    shop = store.conversation("c", schema=Schema(Order, version=7))
    with shop.transaction():
        shop.state["name"] = "Ada"
    assert image()[b"y"] == b"0007"


def test_many_threads_take_no_more_than_the_schema_leaves(store: Store) -> None:
    shop = store.conversation("c", schema=Order, timeout=60)
    shop.state.update(name="Ada", left=15)

    def takes(thread: int) -> int:
        taken = 0
        for turn in range(8):
            try:
                shop.state.increment("left", -1)
                taken += 1
            except errors.InvalidValue:
                shop.state.append("cart", Item(f"{thread}-{turn}"))
        return taken

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(takes, range(4))) == 15
    whole = shop.typed()
    assert (whole.left, len(whole.cart)) == (0, 4 * 8 - 15)


# Properties -----------------------------------------------------------------------------------------------------------


class Anything(BaseModel):
    numbers: list[int] = []
    table: dict[str, float | None] = {}
    item: Item | None = None
    items: dict[str, list[Item]] = {}
    pair: tuple[int, str] = (0, "")
    names: set[str] = set()
    kind: Literal["a", "b"] | int = "a"
    price: Decimal = Decimal(0)


ITEMS = st.builds(Item, st.text(st.characters(exclude_categories=["Cs"])), st.integers(-(2**63), 2**63 - 1))
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
ANYTHING = st.builds(
    Anything,
    numbers=st.lists(st.integers(), max_size=4),
    table=st.dictionaries(WORDS, st.none() | st.floats(allow_nan=False, allow_infinity=False), max_size=3),
    item=st.none() | ITEMS,
    items=st.dictionaries(WORDS, st.lists(ITEMS, max_size=2), max_size=2),
    pair=st.tuples(st.integers(), WORDS),
    names=st.sets(WORDS, max_size=3),
    kind=st.sampled_from(["a", "b"]) | st.integers(),
    price=st.decimals(allow_nan=False, allow_infinity=False),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(whole=ANYTHING)
def test_what_was_written_is_what_is_read(whole: Anything) -> None:
    schema = Schema(Anything)
    codec = SchemaCodec(schema, Codec())
    stored = {name: codec.encode(getattr(whole, name), name) for name in Anything.model_fields}
    plain = {name: codec.decode(raw, key="k", field=name) for name, raw in stored.items()}
    assert schema.instance(plain, "k") == whole
    # Writing what was read changes nothing. (Compared as values: a set is written in any order.)
    again = {name: codec.encode(value, name) for name, value in plain.items()}
    assert {name: codec.decode(raw, key="k", field=name) for name, raw in again.items()} == plain


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(sorted(Anything.model_fields)), value=st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
))  # fmt: skip
def test_any_value_is_taken_readably_or_refused_by_a_typed_error(name: str, value: Any) -> None:
    schema = Schema(Anything)
    codec = SchemaCodec(schema, Codec())
    try:
        raw = codec.encode(value, name)
    except errors.InvalidInput as error:
        assert error.data["path"].startswith(name)
    else:
        schema.instance({name: codec.decode(raw, key="k", field=name)}, "k")


# Definitions ----------------------------------------------------------------------------------------------------------


class Pair(NamedTuple):
    first: int


class Numbers(RootModel[list[int]]):
    pass


class Plain:
    pass


@dataclass
class Unresolved:
    x: Nowhere  # noqa: F821 - this is what is tested


class UnresolvedModel(BaseModel):
    x: Nowhere  # noqa: F821 - this is what is tested


@dataclass
class OfPlain:
    x: Plain


@dataclass
class Initial:
    x: InitVar[int]


Brackets = TypedDict("Brackets", {"x[]": int})


@pytest.mark.parametrize(
    "cls",
    [Pair, Numbers, Plain, int, Unresolved, UnresolvedModel, OfPlain, Initial, Brackets, None, "Order", Item("x")],
)
def test_a_class_that_cannot_be_a_schema_is_refused_at_once(store: Store, cls: Any) -> None:
    for define in (lambda: Schema(cls), lambda: store.conversation("c", schema=cls or 5)):
        with pytest.raises(errors.InvalidSchema) as caught:
            define()
        assert caught.value.next_step


@pytest.mark.parametrize(
    ("version", "upcasters"),
    [
        (0, {}),
        (10_000, {}),
        ("2", {}),
        (True, {}),
        (3, {1: dict}),
        (2, {2: dict}),
        (2, {0: dict, 1: dict}),
        (2, {"1": dict}),
        (2, {1: None}),
        (2, 5),
    ],
)
def test_versions_that_do_not_lead_up_are_refused(version: Any, upcasters: Any) -> None:
    with pytest.raises(errors.InvalidSchema) as caught:
        Schema(Order, version=version, upcasters=upcasters)
    assert caught.value.next_step


def test_a_gap_names_the_versions_that_are_missing() -> None:
    with pytest.raises(errors.InvalidSchema, match=": 2, 3"):
        Schema(Order, version=5, upcasters={1: dict, 4: dict})


def test_a_class_is_looked_at_once(store: Store) -> None:
    first, again = store.conversation("c", schema=Order), store.conversation("d", schema=Order)
    assert first.schema is again.schema
    assert Schema(Order, version=2).rules is first.schema.rules


def test_a_field_that_is_made_by_the_class_is_no_state() -> None:
    @dataclasses.dataclass
    class Counted:
        name: str
        length: int = field(init=False, default=0)

        def __post_init__(self) -> None:
            self.length = len(self.name)

    schema = Schema(Counted)
    assert list(schema.rules) == ["name"]
    assert schema.instance({"name": "Ada"}, "k").length == 3


def test_a_validator_that_changes_a_sum_or_a_list_has_its_way(store: Store) -> None:
    class Clamped(BaseModel):
        volume: Annotated[int, AfterValidator(lambda volume: min(volume, 10))] = 5
        words: Annotated[list[str], AfterValidator(sorted)] = ["m"]

    shop = store.conversation("c", schema=Clamped)
    assert [shop.state.increment("volume", 4) for _ in range(3)] == [9, 10, 10]
    shop.state.append("words", "z")
    shop.state.append("words", "a")
    assert shop.typed() == Clamped(volume=10, words=["a", "m", "z"])


def test_what_cannot_be_stored_is_refused(store: Store) -> None:
    class Login(BaseModel):
        password: SecretStr = SecretStr("")

    with pytest.raises(errors.UnsupportedValue) as caught:
        store.conversation("c", schema=Login).state.set("password", "s3cret")
    assert "s3cret" not in str(caught.value)


def test_a_mismatch_survives_the_way_between_processes(store: Store) -> None:
    with pytest.raises(errors.SchemaMismatch) as caught:
        store.conversation("c", schema=Order).typed()
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.path, copy.expected) == ("name", "a value: the field is required")
    assert copy.as_result()["path"] == "name"


# Types and installations ----------------------------------------------------------------------------------------------


def test_mypy_knows_what_a_schema_makes(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path}"]
    ran = subprocess.run(
        [*command, "tests/typing/schema_types.py"], capture_output=True, text=True, check=False, cwd=REPOSITORY
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


WITHOUT_PYDANTIC = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("pydantic", "pydantic_core", "typing_extensions"):
            raise ModuleNotFoundError(name=name)
sys.meta_path.insert(0, Blocked())
from dataclasses import dataclass
import redstate
@dataclass
class Shop:
    name: str = ""
store = redstate.Store.from_url(sys.argv[1], key_prefix=sys.argv[2])
store.conversation("c").state["name"] = "Ada"
for define in (lambda: store.conversation("c", schema=Shop), lambda: redstate.Schema(Shop)):
    try:
        define()
    except redstate.errors.MissingExtra as error:
        print(error.extra, error.next_step)
print(store.conversation("c").state.copy())
"""


def test_without_pydantic_all_works_but_schemas_which_say_what_to_install(url: str, prefix: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_PYDANTIC, url, prefix], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == ["schema Install redstate[schema]"] * 2 + ["{'name': 'Ada'}"]
