"""The headers of every answer, in the order recorded live.

The order is that of 2026-05. Of the additions of 2026-09 only the names and values are known; they are placed beside
headers of their kind. `set-cookie` is left out: a cookie that never changes tells a client nothing. `wire` puts
`transfer-encoding` and `connection` after the headers that describe the content.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from airflow_batches.emulator.clock import http_date
from airflow_batches.emulator.wire import Response

ORGANIZATION: Final = "e5f1a4c2-7b1d-4c39-9a58-0d6f2b7c8e10"
"""An invented organization id, in the form that was recorded."""


@dataclass(frozen=True, slots=True)
class HeaderValues:
    """The values that go into the headers of an answer.

    `workspace` and `limits` are empty until the key is accepted. `now` is in microseconds since the epoch,
    `milliseconds` is how long the answer took.
    """

    now: int
    milliseconds: int
    request_id: str
    workspace: str
    limits: Mapping[str, str]


def with_headers(response: Response, values: HeaderValues) -> Response:
    """Return the response with all headers of the API.

    The response's own come first, and take precedence.
    """
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
