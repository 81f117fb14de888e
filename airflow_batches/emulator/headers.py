"""The headers of every answer, in the order in which the API was recorded to send them (2026-05, with the additions
of 2026-09).

Of the additions only the names and values are known; they stand where headers of their kind do. `set-cookie` is left
out: a cookie that never changes would mean nothing. The connection puts its own two, `transfer-encoding` and
`connection`, behind those that describe the content (`wire`).
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from airflow_batches.emulator.clock import http_date
from airflow_batches.emulator.wire import Response

ORGANIZATION: Final = "e5f1a4c2-7b1d-4c39-9a58-0d6f2b7c8e10"


@dataclass(frozen=True, slots=True)
class HeaderValues:
    """What the headers tell besides the answer itself. `workspace` is empty and `limits` are none as long as the
    key is not known; `now` is in microseconds since the epoch, `milliseconds` is how long the answer took."""

    now: int
    milliseconds: int
    request_id: str
    workspace: str
    limits: Mapping[str, str]


def with_headers(response: Response, values: HeaderValues) -> Response:
    """The response with all of its headers. Its own come first, and win where they say something else."""
    own = {name.lower(): value for name, value in response.headers.items()}
    usual = _of_the_edge() if response.edge else _of_the_api(values)
    return replace(response, headers={"date": http_date(values.now), **own} | usual | own)


def _of_the_api(values: HeaderValues) -> dict[str, str]:
    headers = {
        **values.limits,
        "request-id": values.request_id,
        "strict-transport-security": "max-age=31536000; includeSubDomains; preload",
    }
    if values.workspace:
        headers |= {"anthropic-organization-id": ORGANIZATION, "anthropic-workspace-id": values.workspace}
    edge = _of_the_edge()
    return headers | {
        "server": edge["server"],
        "x-envoy-upstream-service-time": str(values.milliseconds),
        "x-robots-tag": "none",
        "vary": "Accept-Encoding",
        "server-timing": f"x-originResponse;dur={values.milliseconds}",
        "cf-cache-status": "DYNAMIC",
        "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
        "cf-ray": edge["cf-ray"],
    }


def _of_the_edge() -> dict[str, str]:
    return {"server": "cloudflare", "cf-ray": f"{random.getrandbits(64):016x}-EWR"}
