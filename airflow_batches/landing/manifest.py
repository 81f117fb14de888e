"""What landed, in numbers: the JSON beside the results, the operator's return value, the asset event's extra.

Rules:
- Ids, counts, URIs and up to three error messages; no line of the results.
- A reader of an older or a newer version can read it: unknown fields are ignored, missing ones have defaults.
- `state` is `publishing` while the objects are being replaced, and `complete` once they are what it says. A manifest
  that stays `publishing` is that of a landing which ended on the way; landing the batch again completes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from airflow_batches.api.error_messages import ErrorMessage
from airflow_batches.landing.tally import ModelUsage
from airflow_batches.landing.verify import Mismatch

SCHEMA_VERSION: Final = 1
SUFFIX: Final = ".manifest.json"
PUBLISHING: Final = "publishing"
COMPLETE: Final = "complete"


class LandedObject(msgspec.Struct, frozen=True, kw_only=True):
    """One object as it is stored: `size` and `sha256` are those of its bytes, compressed where it is."""

    uri: str
    format: str
    lines: int
    bytes: int
    sha256: str
    etag: str | None = None
    """What the store called this version of the object; none for local files."""


class LandedBy(msgspec.Struct, frozen=True, kw_only=True):
    """The Airflow task instance that landed it. A later try of the same one may replace what it landed."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """USD as decimal strings, at batch prices; null where a price is not known, and then the total is too."""

    total: str | None
    by_model: Mapping[str, str | None]
    source: str
    """The price list, or why there is none."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What landed. Times are ISO 8601 in UTC; `seconds` and `lines_per_second` are those of the landing."""

    schema_version: int = SCHEMA_VERSION
    state: Literal["publishing", "complete"] = COMPLETE
    landing_id: str = ""
    """Differs from landing to landing."""
    landed_by: LandedBy | None = None
    """None where it was landed from a terminal, or by `land` itself."""
    batch_id: str
    results: LandedObject
    failed: LandedObject | None = None
    lines: int
    counts: Mapping[str, int]
    """Lines by result type."""
    error_types: Mapping[str, int] = {}
    error_messages: tuple[ErrorMessage, ...] = ()
    """The commonest, at most three."""
    ids_digest: str | None = None
    """The receipt's, where there was one and it proves these ids."""
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
        """The URIs of all objects that it names."""
        return frozenset(landed.uri for landed in self.objects)

    @property
    def objects(self) -> tuple[LandedObject, ...]:
        """The results, and the failures if they have an object."""
        return (self.results, self.failed) if self.failed else (self.results,)

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
