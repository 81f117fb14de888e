"""One JSON text for each request, whatever the order of its members, its blanks and its escapes.

A fingerprint is made of it, so that a list of requests and the JSON that was written from it are the same requests.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import msgspec

CACHED_MEMBERS: Final = 256
"""Values of members that are kept: tools and output formats repeat in nearly every request of a batch."""

_decoder: Final = msgspec.json.Decoder()
_encoder: Final = msgspec.json.Encoder(order="sorted")


def canonical(data: bytes) -> bytes:
    """Return the canonical JSON of a request; the bytes as they are where msgspec cannot read all of them."""
    try:
        return _encoder.encode(_decoder.decode(data))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return data


canonical_member = lru_cache(CACHED_MEMBERS)(canonical)
"""The same for a value that is likely to come again."""
