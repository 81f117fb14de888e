"""The manifest of a landing.

It is the JSON beside the results, the operator's return value and the asset event's extra.

Rules:
- It holds ids, counts, URIs and up to three error messages, and no result line.
- Older and newer versions can read it: unknown fields are ignored, missing ones have defaults.
- `state` is `publishing` while the objects are being replaced, and `complete` when they are the ones that it names. A
  landing that ended in between leaves `publishing`; landing the batch again completes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from airflow_batches.api.error_messages import ErrorMessage
from airflow_batches.landing.mismatch import Mismatch
from airflow_batches.landing.usage import ModelUsage

SCHEMA_VERSION: Final = 1
"""Grows when readers of older manifests would misread newer ones, because a member has changed its meaning."""
SUFFIX: Final = ".manifest.json"
PUBLISHING: Final = "publishing"
COMPLETE: Final = "complete"


class LandedObject(msgspec.Struct, frozen=True, kw_only=True):
    """One object as it is stored.

    `bytes` and `sha256` are those of the stored, perhaps compressed, content.
    """

    uri: str
    format: str
    lines: int
    bytes: int
    sha256: str
    etag: str | None = None
    """The store's name for this version of the object; None for local files."""


class LandedBy(msgspec.Struct, frozen=True, kw_only=True):
    """The Airflow task instance that landed a batch.

    A later try of it may replace what it landed.

    Example::

        landed_by = LandedBy(dag_id="reviews", run_id="manual__2026-11-28", task_id="land")
        land(client, batch_id, "s3://bucket/results.jsonl", landed_by=landed_by)
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """USD as decimal strings, at batch prices.

    A price that is unknown is None, and then the total is too.
    """

    total: str | None
    by_model: Mapping[str, str | None]
    source: str
    """The price list that was used, or why there is none."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What landed, in numbers.

    Times are ISO 8601 in UTC; `seconds` and `lines_per_second` are those of the landing.

    Example::

        manifest = Manifest.from_dict(context["ti"].xcom_pull(task_ids="land"))
        if manifest.verified and not manifest.error_types:
            print(manifest.uri, manifest.lines, manifest.counts["succeeded"])
    """

    schema_version: int = SCHEMA_VERSION
    state: Literal["publishing", "complete"] = COMPLETE
    landing_id: str = ""
    """A random id of this landing."""
    landed_by: LandedBy | None = None
    """None if it was landed from a terminal or by a direct call of `land`."""
    batch_id: str
    results: LandedObject
    failed: LandedObject | None = None
    lines: int
    counts: Mapping[str, int]
    """Lines by result type."""
    error_types: Mapping[str, int] = {}
    error_messages: tuple[ErrorMessage, ...] = ()
    """The most frequent ones, at most three."""
    ids_digest: str | None = None
    """The receipt's digest, if a receipt was given and proved these ids."""
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
    attempts: int = 1
    """How often the results were requested."""

    @property
    def uri(self) -> str:
        """The URI of the results."""
        return self.results.uri

    @property
    def uris(self) -> frozenset[str]:
        """The URIs of all landed objects."""
        return frozenset(landed.uri for landed in self.objects)

    @property
    def objects(self) -> tuple[LandedObject, ...]:
        """The results' object, and the failures' object if there is one."""
        return (self.results, self.failed) if self.failed else (self.results,)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        values: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))  # `to_builtins` would leave tuples
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Manifest:
        """Make a manifest from plain JSON values.

        :param values: what `to_dict` returned, in this version or another.
        :raises msgspec.ValidationError: the values are not a manifest.
        """
        return msgspec.convert(values, cls)

    @classmethod
    def from_json(cls, data: bytes) -> Manifest:
        """Read what `to_json` returned, in this version or another.

        :raises msgspec.MsgspecError: the bytes are not a manifest.
        """
        return msgspec.json.decode(data, type=cls)

    def to_json(self) -> bytes:
        """Return indented JSON, for people as well as for programs."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"
