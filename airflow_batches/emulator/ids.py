"""Ids like the API's: a prefix and base58 characters (recorded live, 2024 to 2026)."""

from __future__ import annotations

import random
from typing import Final

_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_PAIRS: Final = tuple((a + b).encode() for a in _BASE58 for b in _BASE58)
_SPAN: Final = len(_PAIRS) ** 2
_STRIDE: Final = 7_919_017  # chosen: a prime that does not divide the span, so every index gets another id


def base58(length: int, rng: random.Random | None = None) -> str:
    return "".join((rng or random).choices(_BASE58, k=length))


def batch_id() -> str:
    return "msgbatch_01" + base58(22)


def request_id() -> str:
    return "req_011C" + base58(20)


def series(kind: str, batch: str) -> tuple[bytes, int]:
    """Return what the ids of a batch's lines share: a beginning, and the first number."""
    rng = random.Random(f"{kind}:{batch}")
    return (kind + base58(18 if kind.endswith("01") else 16, rng)).encode(), rng.randrange(_SPAN)


def member(common: tuple[bytes, int], index: int) -> bytes:
    """Return the id of the line at `index`, the same on every read of the batch."""
    first, second = divmod((common[1] + index * _STRIDE) % _SPAN, len(_PAIRS))
    return common[0] + _PAIRS[first] + _PAIRS[second]
