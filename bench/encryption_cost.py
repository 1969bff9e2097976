"""What encryption costs a value: encoding and decoding, plain and encrypted. `python -m bench.encryption_cost`."""

from __future__ import annotations

import secrets
import timeit
from collections.abc import Callable
from typing import Any

import redstate
from redstate._codec import Codec, Limits
from redstate._codec.sealing import codec_for

KEY = "rs:{conv:conv_123}"
VALUES: dict[str, Any] = {
    "a text of 20 characters": "x" * 20,
    "a dict of 200 bytes": {f"key{number}": f"value-{number:06d}" for number in range(8)},
    "a list of 10,000 bytes": ["y" * 97] * 100,
}


def microseconds(work: Callable[[], object]) -> float:
    """The best of seven runs, for one call."""
    count, spent = timeit.Timer(work).autorange()
    number = max(1, int(count * 0.1 / spent))
    return min(timeit.repeat(work, number=number, repeat=7)) / number * 1e6


def main() -> None:
    encryption = redstate.Encryption({"2026-11": secrets.token_bytes(32)})
    codecs = [codec_for(Limits(), how).bound_to(KEY) for how in (None, encryption)]
    print(f"{'':26}{'encode µs':>22}{'decode µs':>22}{'bytes':>16}")
    print(f"{'':26}{'plain':>11}{'encrypted':>11}{'plain':>11}{'encrypted':>11}{'plain':>8}{'encr.':>8}")
    for name, value in VALUES.items():
        encoded = [codec.encode(value, "it") for codec in codecs]
        encode = [_encoding(codec, value) for codec in codecs]
        decode = [_decoding(codec, data) for codec, data in zip(codecs, encoded, strict=True)]
        times = "".join(f"{time:11.2f}" for time in (*encode, *decode))
        print(f"{name:26}{times}{len(encoded[0]):8}{len(encoded[1]):8}")
    fresh = codec_for(Limits(), redstate.Encryption({"2026-11": secrets.token_bytes(32)}))
    keys = (f"rs:{{conv:{number}}}" for number in range(10**9))
    first = microseconds(lambda: fresh.bound_to(next(keys)).encode("", "it"))
    print(f"the first value of a record, in all: {first:.2f} µs")


def _encoding(codec: Codec, value: Any) -> float:
    return microseconds(lambda: codec.encode(value, "it"))


def _decoding(codec: Codec, data: bytes) -> float:
    return microseconds(lambda: codec.decode(data, key=KEY, field="sit"))


if __name__ == "__main__":
    main()
