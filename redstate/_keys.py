"""Every key and field name that redstate makes. Nothing else builds one.

The key space (``rs`` is the default prefix):

    rs:{conv:<id>}      hash    one conversation
        v               its version: microseconds of server time, sixteen digits, strictly rising
        f               the owner's fencing token, once it is claimed: the time of that moment
        F               the owner; absent while there is none
        d               the version at which it was deleted; it is absent while d = v
        D               the same, until nothing of up to that version is in the archive any more
        b               when it began, sixteen digits, if it is kept until it is archived
        g               the id of its customer, if it was begun or ended for one
        G               of what is left of an erased one: for whom it was, ids behind their sizes; absent for all
        n               when it was used last without a change, sixteen digits
        x               when and why it ended, sixteen digits and a word; its f then begins with a tilde
        m               that it was merged into its customer's profile
        r               when it was resumed last, sixteen digits
        s<field>        a state field, encoded
        h<agent>:<hook> whether a hook of an agent ran: "done", or until when it has time to, and who runs it
        k               the names of the state fields in the order in which they came
        y               the schema version that the state fits, four digits, once it was written through a schema
        c<sku>          a cart line's quantity
        p<sku>          its price, if it has one
        a<sku>          the version at which it was added
        l<sku>          its attributes, encoded, if it has some
        o               the id of the order that the cart became, while it is frozen; it has no lines then
        o<order id>     an order: the version of the checkout, then the lines as they were
        w<name>         a workflow: where it stands, since when, until when, and its last 50 transitions
        W<name>         what it collected, encoded
        u               a session: when its idle time ends, when it expires, since when it is, its idle time; 64 digits
        ud              who is logged in, encoded
        j<writer>       the journal of one writer: its newest operations and their results
        i<call>         the journal of a tool call of another conversation that has changed this record
        i               these calls, in order
        q<call>         the journal of one tool call: its operations while it runs, its answer when it is over
        Q<call>         who runs it, since when, and what was asked for; absent once the answer was sent
        q               the tool calls that are remembered, in the order in which they began
    rs:{conv:<id>}      channel every change of that conversation publishes its new version here

    rs:{cust:<id>}      hash    one customer
        v d s k i j     as in a conversation
        t               its last conversations, each with the times when it was linked and when it was merged
        e               its history
        x               when it was erased, sixteen digits and a word, for ten minutes at least
    rs:{cust:<id>}      channel as a conversation's

    rs:{conv:<id>}:tries  hash  attempts to log in of that conversation; delete() does not forget them
        tries           when each was, sixteen digits, and its token, eight letters; oldest first
    rs:{user:<digest>}  hash    attempts to log in as one user, likewise; names of users do not lie in names of keys

    rs:{cache:<key>}    hash    one entry of the cache
        v i t           its value, encoded; the id of that value; the tags it carries, each with the mark it had
        u k             until when it is fresh, and until when it may be served stale
        n l             who loads it now, and until when that lease runs
    rs:{tag:<tag>}      hash    one tag of the cache
        m               its mark: entries that carry another one, or any while there is none, are invalid
    rs:{cache:<key>}, rs:{tag:<tag>}  channels: every change of them publishes an empty message here

    rs:{beat:<token>}   channel a process publishes here what it alone hears: its heartbeat

    rs:{due:<part>}     zset    conversations that are kept until they are archived, by the time to look at them again,
                                microseconds; a conversation lies in the part that its id's CRC-32 falls to

    rs:{owners}         zset    owners by the end of their lease, in microseconds; below zero: since when one is gone
    rs:{owner:<id>}     hash    what an owner holds: conversations, each with the agent that serves it
    rs:{owner:<id>}:mail  hash  conversations of it with tool calls that reached somebody else

Ids come from outside. All but plain ASCII characters are percent-encoded, so that no id can close the hash tag, forge
another's key, or break a line of a log; the encoding is injective.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
import unicodedata
import zlib

from redstate.errors import ConfigurationError, InvalidField, InvalidId

MAX_ID_BYTES = 512
MAX_FIELD_BYTES = 256

STATE, QUANTITY, PRICE, ADDED, JOURNAL = "s", "c", "p", "a", "j"
ATTRIBUTES, PLACED = "l", "o"
STATE_BYTES = STATE.encode()
WORKFLOW, WORKFLOW_DATA = "w", "W"
OWNER = "F"
BEGUN, CUSTOMER, ENDED, MERGED, RESUMED, PURGED, ERASED_FOR = "b", "g", "x", "m", "r", "D", "G"
DUE_PARTS = 64
"""For good: a conversation that is in one part must not be looked for in another."""
UNVERSIONED = b"hijfFqQbgmnxD"
"""The first letters of fields that change without a new version of the record."""
VERSION, FENCE, DELETED, ORDER = "v", "f", "d", "k"
CALL, RUN, FOREIGN_CALL = "q", "Q", "i"
SESSION, USER, TRIES = "u", "ud", "tries"
SCHEMA = "y"
LINKS, HISTORY = "t", "e"

_PLAIN = re.compile(r"[A-Za-z0-9_.:@+=,/~-]+")
_UNSAFE = re.compile(rb"[^A-Za-z0-9_.:@+=,/~-]")
_PREFIX = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


def conversation_key(prefix: str, conversation_id: str) -> str:
    """The key of a conversation.

    Args:
        prefix: the store's key prefix, already validated.
        conversation_id: the platform's id; any non-empty text of at most 512 UTF-8 bytes.

    Raises:
        InvalidId: the id is no str, empty, too long, or has lone surrogates.
    """
    if type(conversation_id) is not str:
        raise InvalidId(f"A conversation id must be a str, not {type(conversation_id).__name__}")
    # At four bytes a character at most, a short plain id needs no further look.
    if _PLAIN.fullmatch(conversation_id) and len(conversation_id) <= MAX_ID_BYTES:
        return f"{prefix}:{{conv:{conversation_id}}}"
    return f"{prefix}:{{conv:{_encode_id(conversation_id)}}}"


def customer_key(prefix: str, customer_id: str) -> str:
    """The key of a customer.

    Raises:
        InvalidId: the id is no str, empty, longer than 512 UTF-8 bytes, or has lone surrogates.
    """
    return f"{prefix}:{{cust:{_encoded(customer_id, 'customer id')}}}"


def is_customer(key: str) -> bool:
    """Whether a key is a customer's."""
    return "{cust:" in key


def check_id(text: str, what: str) -> str:
    """The id, if it can name something.

    Raises:
        InvalidId: it is no str, empty, longer than 512 UTF-8 bytes, or has lone surrogates.
    """
    _encoded(text, what)
    return text


def is_id(text: str) -> bool:
    """Whether it can name something."""
    if _PLAIN.fullmatch(text) and len(text) <= MAX_ID_BYTES:
        return True
    try:
        _encode_id(text)
    except InvalidId:
        return False
    return True


def beat_channel(prefix: str, token: str) -> str:
    """The channel on which a process sends heartbeats to itself."""
    return f"{prefix}:{{beat:{token}}}"


def due_key(prefix: str, conversation_id: str) -> str:
    """The key of the part of the index that a conversation lies in."""
    return due_part_key(prefix, zlib.crc32(conversation_id.encode()) % DUE_PARTS)


def due_part_key(prefix: str, part: int) -> str:
    """The key of a part of the index, 0 to ``DUE_PARTS`` - 1."""
    return f"{prefix}:{{due:{part:02d}}}"


def owners_key(prefix: str) -> str:
    """The key of the owners of conversations."""
    return f"{prefix}:{{owners}}"


def holdings_key(prefix: str, owner: str) -> str:
    """The key of what an owner holds."""
    return f"{prefix}:{{owner:{owner}}}"


def mail_key(prefix: str, owner: str) -> str:
    """The key of the conversations of an owner that somebody has left a tool call for."""
    return f"{holdings_key(prefix, owner)}:mail"


def call_pen(conversation_id: str, call_id: str) -> str:
    """The name under which a tool call writes: sixteen characters, the same in every process.

    It is a digest (96 bits), as ids of calls are of any length, and are unique in their conversation only.
    """
    text = f"{len(conversation_id)}:{conversation_id}{call_id}".encode("utf-8", "surrogatepass")
    return base64.urlsafe_b64encode(hashlib.blake2b(text, digest_size=12).digest()).decode()


def attempts_key(record_key: str) -> str:
    """The key of a conversation's attempts to log in."""
    return f"{record_key}:{TRIES}"


def user_attempts_key(record_key: str, name: str) -> str:
    """The key of the attempts to log in as a user, in the store of that conversation's record.

    It holds a digest of the name: keys show in slow logs, in monitors and in backups, where names have no business. How
    a name is written does not matter: whoever varies capitals, width or spaces gets no further attempts.

    Raises:
        InvalidId: the name is no str, empty, longer than 512 UTF-8 bytes, or has lone surrogates.
    """
    _encoded(name, "user name")
    plain = unicodedata.normalize("NFKC", name).casefold().strip()
    digest = hashlib.blake2b(plain.encode(), digest_size=16).hexdigest()
    return f"{record_key[: record_key.index('{')]}{{user:{digest}}}"


def cache_key(prefix: str, key: str) -> str:
    """The key of an entry of the cache.

    Raises:
        InvalidId: the key is no str, empty, longer than 512 UTF-8 bytes, or has lone surrogates.
    """
    return f"{prefix}:{{cache:{_encoded(key, 'cache key')}}}"


def tag_key(prefix: str, tag: str) -> str:
    """The key of a tag of the cache.

    Raises:
        InvalidId: the tag is no str, empty, longer than 512 UTF-8 bytes, or has lone surrogates.
    """
    return f"{prefix}:{{tag:{_encoded(tag, 'cache tag')}}}"


def _encoded(text: str, what: str) -> str:
    if type(text) is not str:
        raise InvalidId(f"A {what} must be a str, not {type(text).__name__}")
    return _encode_id(text, what)


def _encode_id(text: str, what: str = "conversation id") -> str:
    raw = _utf8(text, what, InvalidId)
    if not raw:
        raise InvalidId(f"The {what} is empty")
    if len(raw) > MAX_ID_BYTES:
        raise InvalidId(f"The {what} has {len(raw):,} bytes; at most {MAX_ID_BYTES} are allowed")
    return _UNSAFE.sub(lambda match: b"%%%02X" % match[0][0], raw).decode("ascii")


def decode_conversation_key(prefix: str, key: str) -> str | None:
    """The id inside a conversation's key, or None where the key is not one of this prefix."""
    start = f"{prefix}:{{conv:"
    if not key.startswith(start) or not key.endswith("}"):
        return None
    text = key[len(start) : -1].encode("ascii")
    return re.sub(rb"%([0-9A-F]{2})", lambda match: bytes([int(match[1], 16)]), text).decode("utf-8")


def state_field(name: str) -> str:
    """The hash field of a state field.

    Raises:
        InvalidField: the name is no str, empty or longer than 256 UTF-8 bytes.
    """
    return STATE + _checked(name, "state field")


def line_fields(sku: str) -> tuple[str, str, str]:
    """The hash fields of a cart line: quantity, price, version when added.

    Raises:
        InvalidField: the sku is no str, empty or longer than 256 UTF-8 bytes.
    """
    if type(sku) is not str:
        raise InvalidField(f"A sku must be a str, not {type(sku).__name__}")
    return _line_fields(sku)


def attributes_field(sku: str) -> str:
    """The hash field of a cart line's attributes.

    Raises:
        InvalidField: the sku is no str, empty or longer than 256 UTF-8 bytes.
    """
    return ATTRIBUTES + _checked(sku, "sku")


def placed_field(order_id: str) -> str:
    """The hash field of an order.

    Raises:
        InvalidField: the id is no str, empty or longer than 256 UTF-8 bytes.
    """
    return PLACED + _checked(order_id, "order id")


# A shop sells the same things over and over.
@functools.lru_cache(maxsize=4096)
def _line_fields(sku: str) -> tuple[str, str, str]:
    name = _checked(sku, "sku")
    return QUANTITY + name, PRICE + name, ADDED + name


def workflow_fields(name: str) -> tuple[str, str]:
    """The hash fields of a workflow: header, data. Its definition has checked the name."""
    return WORKFLOW + name, WORKFLOW_DATA + name


def hook_field(agent: str, hook: str) -> str:
    """The hash field that says whether a hook ran.

    Raises:
        InvalidField: the agent's name is empty or longer than 256 UTF-8 bytes.
    """
    return f"h{_checked(agent, 'agent_id')}:{hook}"


def op_field(op_id: str) -> str:
    """The journal field of an operation id that the caller chose; "!" sets it apart from the names of writers.

    Raises:
        InvalidField: the id is longer than 256 UTF-8 bytes or no valid text.
    """
    return JOURNAL + "!" + _checked(op_id, "op_id")


def check_prefix(prefix: str) -> str:
    """The prefix, if it can stand before a hash tag.

    Raises:
        ConfigurationError: it has braces, spaces or other characters that keys of one store must not share.
    """
    if not isinstance(prefix, str) or not _PREFIX.fullmatch(prefix):
        raise ConfigurationError(
            "key_prefix cannot be used",
            next_step="Use 1 to 64 ASCII letters, digits, dots, dashes, colons or underscores",
        )
    return prefix


def _checked(name: str, what: str) -> str:
    if type(name) is not str:
        raise InvalidField(f"A {what} must be a str, not {type(name).__name__}")
    if not name:
        raise InvalidField(f"The {what} is empty")
    # Only a name that could exceed the cap, or cannot be ASCII, is worth encoding to know its size.
    if len(name) > MAX_FIELD_BYTES or not name.isascii():
        size = len(_utf8(name, what, InvalidField))
        if size > MAX_FIELD_BYTES:
            raise InvalidField(f"The {what} has {size:,} bytes; at most {MAX_FIELD_BYTES} are allowed")
    return name


def _utf8(text: str, what: str, error: type[InvalidId] | type[InvalidField]) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise error(f"The {what} has lone surrogates and is no valid text") from None
