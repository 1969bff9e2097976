"""The codec brings back every value with the type it had, refuses what it cannot, and never trusts stored bytes."""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import enum
import functools
import json
import math
import pickle
import socket
import subprocess
import sys
import uuid
from collections import Counter, OrderedDict, namedtuple
from decimal import Decimal
from typing import Any, Generic, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

import orjson
import pydantic
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from redstate._codec import Codec, Limits, register
from redstate.errors import ConfigurationError, CorruptState, DataError, TooLarge, UnknownType, UnsupportedValue

codec = Codec()
T = TypeVar("T")


class Color(enum.Enum):
    RED = "red"
    PAIR = (1, "x")
    PRICE = Decimal("1.50")


class Level(enum.IntEnum):
    LOW = 1
    HUGE = 2**70


class Word(enum.StrEnum):
    YES = "yes"


class Right(enum.Flag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: int
    y: Any = None


Pair = namedtuple("Pair", ["left", "right"])


@dataclasses.dataclass
class Line:
    sku: str
    price: Any
    seen: int = dataclasses.field(init=False, default=0)
    tags: list[Any] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        self.seen += 1

    @functools.cached_property
    def upper(self) -> str:
        return self.sku.upper()


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    a: Any
    b: int = 3
    late: int = dataclasses.field(init=False)


@dataclasses.dataclass
class Box(Generic[T]):
    content: T


class Guest(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    name: str
    when: dt.datetime | None = None
    prices: list[Decimal] = []
    _note: Any = pydantic.PrivateAttr(default=None)


class Holder(pydantic.BaseModel):
    inner: Any
    _unset: int


class Names(pydantic.RootModel[list[str]]):
    pass


def same(left: Any, right: Any) -> bool:
    """Equal in type and value all the way down; Python's == takes True for 1 and -0.0 for 0.0."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return left == right and math.copysign(1, left) == math.copysign(1, right)
    if isinstance(left, Decimal):
        return left.as_tuple() == right.as_tuple()
    if isinstance(left, dt.datetime | dt.time):
        return (
            left.replace(tzinfo=None) == right.replace(tzinfo=None)
            and (left.fold, left.tzinfo) == (right.fold, right.tzinfo)
            and type(left.tzinfo) is type(right.tzinfo)
            and str(left.tzinfo) == str(right.tzinfo)
        )
    if isinstance(left, dict):
        pairs = zip(left.items(), right.items(), strict=True)
        return len(left) == len(right) and all(same(a, b) and same(c, d) for (a, c), (b, d) in pairs)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, set | frozenset):
        return left == right and Counter(map(type, left)) == Counter(map(type, right))
    if isinstance(left, pydantic.BaseModel):
        return same(left.__getstate__(), right.__getstate__())
    if dataclasses.is_dataclass(left):
        if hasattr(left, "__dict__"):
            return same(vars(left), vars(right))
        return all(same(getattr(left, f.name, None), getattr(right, f.name, None)) for f in dataclasses.fields(left))
    return bool(left == right)


def decode(data: bytes) -> Any:
    return codec.decode(data, key="k", field="f")


def comes_back(value: Any) -> bytes:
    data = codec.encode(value, "value")
    back = decode(data)
    assert same(back, value), (value, data, back)
    return data


zones = st.one_of(
    st.none(),
    st.just(dt.UTC),
    st.sampled_from(["Europe/Paris", "America/New_York", "Asia/Kolkata", "UTC"]).map(ZoneInfo),
    st.builds(dt.timezone, st.timedeltas(dt.timedelta(hours=-23), dt.timedelta(hours=23))),
    st.builds(dt.timezone, st.just(dt.timedelta(hours=1)), st.just("CET")),
)
hashables = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**200), 2**200),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.binary(max_size=8),
    st.builds(dt.datetime.replace, st.datetimes(timezones=st.none()), tzinfo=zones, fold=st.integers(0, 1)),
    st.dates(),
    st.builds(dt.time.replace, st.times(), tzinfo=zones, fold=st.integers(0, 1)),
    st.timedeltas(),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.uuids(),
    st.sampled_from([*Color, *Level, *Word, *Right, Right.READ | Right.WRITE]),
)
keys = st.recursive(
    hashables | st.just("~"),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple), st.frozensets(inner, max_size=3), st.builds(Point, st.integers(), inner)
    ),
    max_leaves=4,
)
values = st.recursive(
    hashables | st.binary(max_size=8).map(bytearray) | st.just("~"),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.text(max_size=4) | st.just("~"), inner, max_size=4),
        st.dictionaries(keys, inner, max_size=4),
        st.sets(keys, max_size=4),
        st.builds(Point, st.integers(), inner),
        st.builds(Pair, inner, inner),
        st.builds(Line, st.text(max_size=4), inner, st.lists(inner, max_size=2)),
        st.builds(Frozen, inner),
        st.builds(lambda name, extra: Guest(name=name, extra=extra), st.text(max_size=4), inner),
    ),
    max_leaves=12,
)


@given(values)
@example({"~": ["decimal", "1"]})
@example({"~": 1, "a": 2})
@example([{"~": []}, "~", '"~"', {'"~"': 1}])
@example({1: "int", "1": "str", None: 0, (True,): 2})
@example([-0.0, 0.0, True, 1, 1.0, 2**63, -(2**63), 2**64 - 1, 2**64, 5e-324, 1e22])
@example([Decimal("-0.00"), Decimal("1E+999"), Decimal("1.10"), Decimal(0)])
@settings(max_examples=300, deadline=None)
def test_every_supported_value_comes_back_with_its_types(value: Any) -> None:
    comes_back(value)


plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=4), inner, max_size=5),
    max_leaves=20,
)


@given(plain_values)
@settings(deadline=None)
def test_plain_values_are_plain_json(value: Any) -> None:
    data = comes_back(value)
    if b'"~"' not in data:
        assert data == orjson.dumps(value)


@given(st.lists(values, min_size=1, max_size=3), values)
@settings(deadline=None, max_examples=50)
def test_an_item_can_be_spliced_into_an_encoded_list(items: list[Any], item: Any) -> None:
    spliced = codec.encode(items, "items")[:-1] + b"," + codec.encode(item, "item") + b"]"
    assert same(decode(spliced), [*items, item])


@given(st.integers(-(2**63), 2**63 - 1))
def test_an_int_is_its_decimal_digits(number: int) -> None:
    assert codec.encode(number, "n") == b"%d" % number


def test_the_order_of_a_dict_is_kept() -> None:
    assert list(decode(codec.encode({"b": 1, "a": Decimal(1), "c": 2}, "d"))) == ["b", "a", "c"]
    assert list(decode(codec.encode({2: "b", 1: "a"}, "d"))) == [2, 1]


def test_ints_beyond_pythons_decimal_conversion_come_back() -> None:
    comes_back({"n": [10**20_000, -(10**20_000)]})


def test_a_uuid_keeps_how_safely_it_was_made() -> None:
    value = uuid.UUID(int=7, is_safe=uuid.SafeUUID.safe)
    assert decode(codec.encode(value, "id")).is_safe is uuid.SafeUUID.safe


def test_a_dataclass_comes_back_without_its_init_being_run_again() -> None:
    line = Line("a", Decimal("1.5"))
    line.seen = 41
    assert line.upper == "A"
    line.sku = "b"
    back = decode(codec.encode(line, "line"))
    assert (back.seen, back.upper, vars(back)) == (41, "A", vars(line))


def test_attributes_that_were_never_set_stay_unset() -> None:
    back = decode(codec.encode(Frozen(1), "f"))
    assert (back.a, back.b) == (1, 3)
    assert not hasattr(back, "late")


def test_a_parametrized_generic_dataclass_comes_back() -> None:
    back = decode(codec.encode(Box[int](3), "box"))
    assert type(back) is Box
    assert back.content == 3


def test_a_model_comes_back_with_its_extra_private_and_set_fields() -> None:
    guest = Guest(name="Ada", when=dt.datetime(2024, 1, 2, tzinfo=dt.UTC), prices=[Decimal("1.10")], note=(1, 2))
    guest._note = {"a": {1}}
    back = decode(codec.encode({"guest": guest}, "g"))["guest"]
    assert back == guest
    assert back._note == {"a": {1}}
    assert back.model_fields_set == guest.model_fields_set
    assert back.note == (1, 2)
    assert back.model_dump_json() == guest.model_dump_json()


def test_a_model_is_not_validated_again() -> None:
    guest = Guest.model_construct(name=5)
    assert decode(codec.encode(guest, "g")).name == 5


def test_a_root_model_comes_back() -> None:
    back = decode(codec.encode(Names(["a"]), "n"))
    assert type(back) is Names
    assert back == Names(["a"])


def test_fields_that_a_class_got_since_take_their_defaults() -> None:
    name = f"{__name__}:"
    line = decode(orjson.dumps({"~": ["dataclass", f"{name}Line", {"sku": "a", "price": 1, "seen": 1}]}))
    assert line == Line("a", 1)
    point = decode(orjson.dumps({"~": ["namedtuple", f"{name}Point", {"x": 1}]}))
    assert same(point, Point(1))
    guest = decode(orjson.dumps({"~": ["model", f"{name}Guest", {"name": "a"}, ["name"], {}, {}]}))
    assert guest == Guest(name="a")


def test_a_field_without_a_default_cannot_be_missing() -> None:
    for tag, name, rest in (
        ("dataclass", "Line", []),
        ("namedtuple", "Point", []),
        ("model", "Guest", [[], None, None]),
    ):
        with pytest.raises(CorruptState):
            decode(orjson.dumps({"~": [tag, f"{__name__}:{name}", {}, *rest]}))


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Stamp(dt.datetime):
    pass


class Plain:
    pass


class Child(Line):
    pass


@dataclasses.dataclass
class Mapped(dict):  # type: ignore[type-arg]
    a: int = 1


class Odd(enum.Enum):
    THING = object()


def half_built() -> Line:
    line = Line("a", 1)
    del line.sku
    return line


@pytest.mark.parametrize(
    ("value", "path", "value_type"),
    [
        ({"cart": [1, {"price": math.nan}]}, "v.cart[1].price", "float"),
        ({"a b": math.inf}, 'v["a b"]', "float"),
        (-math.inf, "v", "float"),
        ([Decimal("NaN")], "v[0]", "decimal.Decimal"),
        ([Decimal("sNaN")], "v[0]", "decimal.Decimal"),
        ((1, Decimal("Infinity")), "v[1]", "decimal.Decimal"),
        ({3: len}, "v[3]", "builtin_function_or_method"),
        ({uuid.UUID(int=1): len}, "v[<UUID>]", "builtin_function_or_method"),
        ({(1, Plain): 1}, "v{key}[1]", "type"),
        ({len}, "v{item}", "builtin_function_or_method"),
        (["\ud800"], "v[0]", "str"),
        ({"\udfff": 1}, 'v["\\udfff"]', "str"),
        ("\ud800", "v", "str"),
        (Line("a", Plain()), "v.price", f"{__name__}.Plain"),
        (Guest(name="a", other=Plain()), "v.other", f"{__name__}.Plain"),
        (Point(1, Plain()), "v.y", f"{__name__}.Plain"),
        (Text("a"), "v", f"{__name__}.Text"),
        ({Text("a"): 1}, "v{key}", f"{__name__}.Text"),
        ([Number(1)], "v[0]", f"{__name__}.Number"),
        (OrderedDict(a=1), "v", "collections.OrderedDict"),
        (Stamp(2024, 1, 1), "v", f"{__name__}.Stamp"),
        (Child("a", 1), "v", f"{__name__}.Child"),
        (Mapped(), "v", f"{__name__}.Mapped"),
        (half_built(), "v", f"{__name__}.Line"),
        ([Odd.THING], "v[0].value", "object"),
        (1j, "v", "complex"),
        (memoryview(b"a"), "v", "memoryview"),
        (range(3), "v", "range"),
        (Line, "v", "type"),
    ],
)
def test_what_would_not_come_back_is_refused_with_its_place(value: Any, path: str, value_type: str) -> None:
    with pytest.raises(UnsupportedValue) as caught:
        codec.encode(value, "v")
    assert (caught.value.path, caught.value.value_type) == (path, value_type)


def test_a_named_tuple_with_attributes_of_its_own_is_refused() -> None:
    class Loose(Point):
        more: int

    loose = Loose(1)
    comes_back(loose)
    loose.more = 1
    with pytest.raises(UnsupportedValue):
        codec.encode(loose, "v")


def test_an_open_socket_is_refused() -> None:
    with socket.socket() as opened, pytest.raises(UnsupportedValue) as caught:
        codec.encode({"conn": opened}, "state")
    assert caught.value.path == "state.conn"


def test_a_foreign_time_zone_is_refused() -> None:
    class Zone(dt.tzinfo):
        def utcoffset(self, _: Any) -> dt.timedelta:
            return dt.timedelta(0)

    with pytest.raises(UnsupportedValue):
        codec.encode(dt.datetime(2024, 1, 1, tzinfo=Zone()), "when")


def cycle_of_lists() -> Any:
    ring: list[Any] = [1]
    ring.append({"back": [ring]})
    return ring, "v[1].back[0]"


def wide_cycle() -> Any:
    ring: list[Any] = [0] * 9_000
    ring[7] = ring
    return ring, "v[7]"


def cycle_of_text() -> Any:
    ring: dict[str, Any] = {"text": "x" * 60_000}
    ring["self"] = ring
    return ring, "v.self"


def cycle_of_instances() -> Any:
    line = Line("a", None)
    line.price = (line,)
    return line, "v.price[0]"


@pytest.mark.parametrize("make", [cycle_of_lists, wide_cycle, cycle_of_text, cycle_of_instances])
def test_a_cycle_is_refused_where_it_closes(make: Any) -> None:
    value, path = make()
    with pytest.raises(UnsupportedValue) as caught:
        codec.encode(value, "v")
    assert caught.value.path == path


def nest(depth: int, wrap: Any = lambda inner: [inner]) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = wrap(value)
    return value


@pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: (v,), lambda v: {"a": v}, lambda v: {1: v}, Box])
def test_depth_is_capped(wrap: Any) -> None:
    comes_back(nest(32, wrap))
    with pytest.raises(TooLarge) as caught:
        codec.encode(nest(33, wrap), "v")
    assert (caught.value.limit, caught.value.actual, caught.value.unit) == (32, 33, "levels")
    with pytest.raises(TooLarge):
        codec.encode(nest(100_000, lambda v: [v]), "v")


@pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: {1: v}, Box, lambda v: Holder(inner=v)])
def test_the_deepest_allowed_value_comes_back(wrap: Any) -> None:
    deep = Codec(Limits(max_depth=64))
    value = nest(64, wrap)
    assert same(deep.decode(deep.encode(value, "v"), key="k", field="f"), value)
    leaf = nest(63, lambda v: [v])
    innermost = leaf
    while innermost != [1]:
        innermost = innermost[0]
    innermost[0] = (Decimal(1), Color.PRICE, Level.HUGE)
    assert same(deep.decode(deep.encode(leaf, "v"), key="k", field="f"), leaf)


def test_items_are_capped_before_the_work_is_done() -> None:
    comes_back([0] * 10_000)
    huge = [0] * 10**7
    halves = {"a": [[0] * 5_000, [0] * 5_000]}
    for value in (huge, {"a": huge}, tuple(huge), halves, dict.fromkeys(range(10_001)), dict.fromkeys("ab", halves)):
        with pytest.raises(TooLarge) as caught:
            codec.encode(value, "v")
        assert caught.value.limit == 10_000
        assert caught.value.unit == "items"
        assert caught.value.actual is not None
        assert caught.value.actual > 10_000


def test_bytes_are_capped() -> None:
    exact = Codec(Limits(max_value_bytes=12))
    assert exact.encode("x" * 10, "v") == b'"xxxxxxxxxx"'
    for value in ("x" * 11, "é" * 6, b"123456", 2**60, [1, 2, 3, 4, 5, 6], {"long key": 1}, Decimal("1.234567890")):
        with pytest.raises(TooLarge) as caught:
            exact.encode(value, "v")
        assert (caught.value.path, caught.value.limit, caught.value.unit) == ("v", 12, "bytes")


def test_a_large_string_held_many_times_is_refused_early() -> None:
    text = "x" * 200_000
    for value in ([text] * 10_000, {"a": [text.encode()] * 9_000}):
        with pytest.raises(TooLarge) as caught:
            codec.encode(value, "v")
        assert caught.value.unit == "bytes"


def test_no_error_tells_the_value() -> None:
    for value in (Text("secret"), [math.nan, "secret"], {"a": ["secret", Plain()]}, "secret" * 10**5):
        with pytest.raises((UnsupportedValue, TooLarge)) as refused:
            codec.encode(value, "v")
        assert "secret" not in str(refused.value)
    color = f"{__name__}:Color"
    for data in (b'"secret', orjson.dumps({"~": ["enum", color, "secret"]}), b'{"~":["decimal","secret"]}'):
        with pytest.raises(CorruptState) as corrupt:
            decode(data)
        assert "secret" not in str(corrupt.value)
        assert corrupt.value.__context__ is None


@pytest.mark.parametrize("setting", ["max_value_bytes", "max_depth", "max_items", "max_fields"])
@pytest.mark.parametrize("cap", [0, -1, 1.5, True, "9", None])
def test_a_cap_that_cannot_work_is_named(setting: str, cap: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Limits(**{setting: cap})
    assert caught.value.data["setting"] == setting
    with pytest.raises(ConfigurationError):
        Limits(max_depth=65)


def tagged(*content: Any) -> bytes:
    return json.dumps({"~": list(content)}).encode()


HERE = f"{__name__}:"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"nul",
        b'{"a":',
        b"\xff",
        b"NaN",
        b"1e999",
        b"\x80\x04K\x05.",
        b"18446744073709551616",
        b"-9223372036854775809",
        b"[" * 100_000,
        b"[" * 500 + b"]" * 500,
        b'{"a":' * 500 + b"1" + b"}" * 500,
        b'{"~":["tuple",' * 400 + b"1" + b"]}" * 400,
        b'{"~":1}',
        b'{"~":[]}',
        b'{"~":["decimal","1"],"a":1}',
        tagged(["decimal"]),
        tagged("nonsense", 1),
        tagged("decimal"),
        tagged("decimal", 1),
        tagged("decimal", "1", "2"),
        tagged("decimal", "NaN"),
        tagged("decimal", " 1_0 "),
        tagged("int", "0x10"),
        tagged("int", 16),
        tagged("uuid", "{12345678123456781234567812345678}"),
        tagged("uuid", 5),
        tagged("bytes", "a"),
        tagged("bytes", "YQ==YQ=="),
        tagged("date", "20240101"),
        tagged("date", "2024-02-30"),
        tagged("datetime", "2024-01-01T00:00:00"),
        tagged("datetime", "2024-01-01T00:00:00", 2),
        tagged("datetime", "2024-01-01T00:00:00+01:00", 0),
        tagged("datetime", "2024-01-01T00:00:00", 0, 10**15),
        tagged("datetime", "2024-01-01T00:00:00", 0, "../../etc/passwd"),
        tagged("datetime", "2024-01-01T00:00:00", 0, 0.5),
        tagged("time", "25:00", 0),
        tagged("timedelta", 1),
        tagged("timedelta", 10**12, 0, 0),
        tagged("timedelta", 0, 86_400, 0),
        tagged("set", 1, 1),
        tagged("set", []),
        tagged("frozenset", {}),
        tagged("map", 1),
        tagged("map", 1, 2, 1, 3),
        tagged("map", [], 1),
        tagged("enum", HERE + "Color"),
        tagged("enum", HERE + "Color", "blue"),
        tagged("enum", HERE + "Color", []),
        tagged("enum", HERE + "Line", "red"),
        tagged("enum", "Color", "red"),
        tagged("enum", 5, "red"),
        tagged("namedtuple", HERE + "Point", [1]),
        tagged("namedtuple", HERE + "Point", {"x": 1, "z": 2}),
        tagged("dataclass", HERE + "Frozen", {"a": 1, "zzz": 2}),
        tagged("dataclass", HERE + "Line", [1]),
        tagged("dataclass", HERE + "Guest", {}),
        tagged("model", HERE + "Guest", {"name": "a"}),
        tagged("model", HERE + "Guest", {"name": "a"}, [[]], None, None),
        tagged("model", HERE + "Guest", {"name": "a"}, [], 5, None),
    ],
)
def test_bytes_that_the_codec_does_not_write_are_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptState) as caught:
        decode(data)
    assert (caught.value.key, caught.value.field) == ("k", "f")


@pytest.mark.parametrize(
    "name",
    [
        "no.such.module:Thing",
        "os:system",
        "os:PathLike",
        "builtins:dict",
        HERE + "Nothing",
        HERE + "Plain",
        HERE + "x.y",
    ],
)
@pytest.mark.parametrize("tag", ["enum", "dataclass", "namedtuple"])
def test_a_class_that_is_not_known_is_named(tag: str, name: str) -> None:
    with pytest.raises(UnknownType) as caught:
        decode(tagged(tag, name, {}))
    assert caught.value.type_name == name


def test_a_time_zone_that_is_not_installed_is_named() -> None:
    with pytest.raises(UnknownType) as caught:
        decode(tagged("datetime", "2024-01-01T00:00:00", 0, "Middle/Earth"))
    assert "Middle/Earth" in caught.value.type_name


def test_a_class_whose_lookup_raises_is_corrupt() -> None:
    class Wild(enum.Enum):
        A = 1

        @classmethod
        def _missing_(cls, value: object) -> Any:
            raise OSError(value)

    codec.encode(Wild.A, "w")
    with pytest.raises(CorruptState):
        decode(tagged("enum", f"{__name__}:{Wild.__qualname__}", 2))


@given(values, st.data())
@settings(deadline=None, max_examples=150)
def test_damaged_bytes_give_a_value_or_a_typed_error(value: Any, data: st.DataObject) -> None:
    encoded = bytearray(codec.encode(value, "v"))
    for _ in range(data.draw(st.integers(1, 3))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(encoded)))
    for damaged in (bytes(encoded), bytes(encoded[:cut])):
        try:
            decode(damaged)
        except DataError as error:
            pickle.loads(pickle.dumps(error))


@given(st.recursive(plain_values, lambda i: st.builds(lambda c: {"~": c}, st.lists(i, max_size=4)), max_leaves=8))
@settings(deadline=None, max_examples=150)
def test_hostile_tags_give_a_typed_error(node: Any) -> None:
    try:
        decode(orjson.dumps({"~": ["tuple", node]}))
    except DataError:
        return


def test_a_class_made_in_a_function_is_found_once_registered() -> None:
    @register
    class Local(enum.Enum):
        A = 1

    assert decode(tagged("enum", f"{__name__}:{Local.__qualname__}", 1)) is Local.A


def test_a_class_that_cannot_be_stored_cannot_be_registered() -> None:
    for cls in (Plain, Child, Mapped, Text):
        with pytest.raises(UnsupportedValue):
            register(cls)


def test_data_never_imports_a_module() -> None:
    # A process of its own: here, most modules are loaded already.
    code = """
import sys
from redstate._codec import Codec
from redstate.errors import UnknownType
codec = Codec()
codec.encode({"a": (1, 2)}, "v")
for name in ("wsgiref.handlers:BaseHandler", "colorsys:X", "pydantic.main:BaseModel"):
    for tag in ("enum", "dataclass", "model"):
        content = '"%s",{},[],null,null' % name if tag == "model" else '"%s",{}' % name
        try:
            codec.decode(b'{"~":["%s",%s]}' % (tag.encode(), content.encode()), key="k", field="f")
        except UnknownType:
            continue
        raise SystemExit(f"{name} was taken")
loaded = {"wsgiref", "colorsys", "pydantic"} & set(sys.modules)
raise SystemExit(f"imported {loaded}" if loaded else 0)
"""
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert finished.returncode == 0, finished.stderr


def test_another_process_reads_what_this_one_wrote() -> None:
    value = {"n": 10**30, "d": Decimal("1.10"), "t": (1, {2, 3}), "w": dt.datetime(2024, 1, 1, tzinfo=ZoneInfo("UTC"))}
    sent = base64.b64encode(codec.encode(value, "v")).decode()
    code = f"""
import base64
from redstate._codec import Codec
codec = Codec()
value = codec.decode(base64.b64decode({sent!r}), key="k", field="f")
print(base64.b64encode(codec.encode(value, "v")).decode())
"""
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert same(decode(base64.b64decode(finished.stdout)), value)
