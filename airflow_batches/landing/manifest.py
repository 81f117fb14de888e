"""What landed, in numbers: the JSON beside the results, the operator's return value, the asset event's extra.

Rules: ids, counts and URIs only, no line of the results; a reader of an older or a newer version can read it
(unknown fields are ignored, missing ones have defaults); whoever finds it finds the object it speaks of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from airflow_batches.landing.tally import ModelUsage
from airflow_batches.landing.verify import Mismatch

SCHEMA_VERSION: Final = 1
SUFFIX: Final = ".manifest.json"
PENDING_SUFFIX: Final = ".pending.json"
"""Stands beside the results while they are being published: whose they are, until the manifest says so."""


class LandedObject(msgspec.Struct, frozen=True, kw_only=True):
    """One object as it is stored: `size` and `sha256` are those of its bytes, compressed where it is."""

    uri: str
    format: str
    lines: int
    bytes: int
    sha256: str


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """USD as decimal strings, at batch prices; null where a price is not known, and then the total is too."""

    total: str | None
    by_model: Mapping[str, str | None]
    source: str
    """The price list, or why there is none."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What landed. Times are ISO 8601 in UTC; `seconds` and `lines_per_second` are of the landing."""

    schema_version: int = SCHEMA_VERSION
    batch_id: str
    results: LandedObject
    failed: LandedObject | None = None
    lines: int
    counts: Mapping[str, int]
    """Lines by result type."""
    error_types: Mapping[str, int] = {}
    ids_digest: str | None = None
    """The receipt's, where there was one and these are its ids."""
    verified: bool
    mismatch: Mismatch | None = None
    usage: Mapping[str, ModelUsage] = {}
    cost_usd: Cost | None = None
    batch_created_at: str | None = None
    batch_ended_at: str | None = None
    started_at: str
    landed_at: str
    seconds: float
    lines_per_second: float
    readings: int = 1

    @property
    def uri(self) -> str:
        """Where the results are."""
        return self.results.uri

    @property
    def uris(self) -> frozenset[str]:
        """Of all objects that it speaks of."""
        return frozenset(landed.uri for landed in (self.results, self.failed) if landed)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        values: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))  # `to_builtins` would leave tuples
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Manifest:
        """From plain JSON values. Raises `msgspec.ValidationError`."""
        return msgspec.convert(values, cls)

    def to_json(self) -> bytes:
        """For people as well as for programs."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"
