"""The manifest of a job: what was asked, what came of it, what it cost.

It is the JSON in the folder, published last, and the operator's return value. It follows from the ledger and the
published objects alone, so each runner that publishes writes the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import msgspec

from airflow_batches.api.error_messages import ErrorMessage
from airflow_batches.jobs.ledger import SUCCEEDED, TokenEstimate
from airflow_batches.landing.manifest import LandedObject
from airflow_batches.landing.usage import ModelUsage

SCHEMA_VERSION: Final = 1
"""Grows when readers of older manifests would misread newer ones, because a member has changed its meaning."""
MANIFEST: Final = "manifest.json"
NO_OUTCOMES: Final = frozenset({"rows", "shared", "reused", "skipped"})
"""Members of a manifest's `rows` that count no outcomes of requests."""


class RoundSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One round: its requests, and how they ended.

    :param again: lines that the next round sent again, by kind.
    """

    round: int
    requests: int
    counts: Mapping[str, int]
    error_types: Mapping[str, int] = {}
    again: Mapping[str, int] = {}


class BatchSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One batch of the job. Times are the API's.

    :param lost: why its results were given up; empty if they landed.
    """

    id: str
    round: int
    canary: bool = False
    requests: int
    created_at: datetime | None = None
    ended_at: str | None = None
    cost_usd: Decimal | None = None
    lost: str = ""


class JobManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a job published, in numbers.

    :param counts: the last outcome of each request, by result type; `invalid_output`: not of the output type.
    :param error_messages: the most common ones of the requests without an answer.
    :param cached: answers that read from the prompt cache.
    :param cost_usd: the cost of all rounds; None: a price is unknown.
    :param results: the objects with the answers, in order.
    :param rows: of a job of rows: how many there are, by status, and how many were answered without a request of
        their own (`shared`, `reused`); empty for other jobs.
    :param failed: the object with the last outcome of each request without an answer.

    Example::

        manifest = run_job(client, requests, "s3://lake/answers/")
        print(manifest.requests, manifest.counts, manifest.cost_usd)
    """

    schema_version: int = SCHEMA_VERSION
    job_id: str
    source: str
    fingerprint: str
    requests: int
    counts: Mapping[str, int]
    error_types: Mapping[str, int] = {}
    error_messages: tuple[ErrorMessage, ...] = ()
    rounds: tuple[RoundSummary, ...]
    batches: tuple[BatchSummary, ...]
    usage: Mapping[str, ModelUsage] = {}
    cost_usd: Decimal | None = None
    cost_by_model: Mapping[str, Decimal | None] = {}
    cached: int = 0
    estimate: TokenEstimate = TokenEstimate()
    results: tuple[LandedObject, ...]
    failed: LandedObject
    rows: Mapping[str, int] = {}
    started_at: datetime
    ended_at: datetime | None = None

    @property
    def outcomes(self) -> Mapping[str, int]:
        """The outcomes that a job is judged by: those of its requests; of a job of rows, those of the rows with one.

        Otherwise one request without an answer, which half of the rows share, would pass for a rare failure.
        """
        return {kind: count for kind, count in self.rows.items() if kind not in NO_OUTCOMES} or self.counts

    @property
    def asked(self) -> int:
        """The number of these requests or rows."""
        return sum(self.outcomes.values())

    @property
    def failures(self) -> int:
        """Those of them without an answer."""
        return self.asked - self.outcomes.get(SUCCEEDED, 0)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, for XCom."""
        values: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return values

    def to_json(self) -> bytes:
        """Return indented JSON, for people as well as for programs."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"
