"""Canonical JSON of a request.

It does not depend on the order of members, on whitespace or on escapes. Fingerprints use it, so that a list of requests
and a JSONL file written from it have the same fingerprint.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import msgspec

CACHED_MEMBERS: Final = 256
"""Values that are cached. Chosen: tools and output formats repeat in nearly every request of a batch."""

_decoder: Final = msgspec.json.Decoder()
_encoder: Final = msgspec.json.Encoder(order="sorted")


def canonical(data: bytes) -> bytes:
    """Return the canonical JSON of a request; the same bytes where msgspec cannot read them."""
    try:
        return _encoder.encode(_decoder.decode(data))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return data


canonical_member = lru_cache(CACHED_MEMBERS)(canonical)
"""The same with a cache, for a value that is likely to repeat."""
