"""From an Airflow connection to an API client.

| field of the connection  | meaning                                                            |
|--------------------------|--------------------------------------------------------------------|
| password                 | the API key                                                        |
| host (schema, port)      | base URL; Anthropic's own when empty                               |
| extra `auth`             | `api_key` (header `x-api-key`) or `bearer` (`Authorization`)       |
| extra `model`            | model of requests that name none                                   |
| extra `anthropic_version`, `anthropic_beta`, `workspace_id`, `timeout`, `headers` | as their names say        |

A connection of type `anthropic`, made for another provider, has the key and the URL in the same places.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk import BaseHook

from airflow_batches.provider import CONNECTION_TYPE, INTEGRATION

if TYPE_CHECKING:
    from airflow.sdk import Connection
    from requests.auth import AuthBase

    from airflow_batches.api import BatchesClient, RetryPolicy

DEFAULT_CONNECTION: Final = "anthropic_default"
SECRET_HEADERS: Final = frozenset({"authorization", "x-api-key", "proxy-authorization"})
READ_TIMEOUT: Final = 600.0
CONNECT_TIMEOUT: Final = 10.0
TEST_TIMEOUT: Final = 30.0
"""Seconds; somebody looks at the form, and a thread of the API server waits."""


class MessageBatchesHook(BaseHook):
    """Gives the client for a connection.

    :param conn_id: Airflow connection with the API key as its password.
    """

    conn_name_attr = "conn_id"
    default_conn_name = DEFAULT_CONNECTION
    conn_type = CONNECTION_TYPE
    hook_name = INTEGRATION

    def __init__(self, conn_id: str = DEFAULT_CONNECTION, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id

    def get_conn(self) -> BatchesClient:
        """A client of one's own: use it in a `with`, or close it. Raises `InvalidRequest` for a wrong connection."""
        return client_for(self.get_connection(self.conn_id))

    def test_connection(self) -> tuple[bool, str]:
        """What the form's Test button shows; lists one batch, which costs nothing."""
        from airflow_batches.api import BatchesError
        from airflow_batches.api.retry import ONCE

        try:
            with client_for(self.get_connection(self.conn_id), retry=ONCE, longest_read=TEST_TIMEOUT) as client:
                client.check()
        except BatchesError as error:
            return False, str(error)
        return True, f"{client.base_url} accepts the key."


def client_for(
    connection: Connection, *, retry: RetryPolicy | None = None, longest_read: float = math.inf
) -> BatchesClient:
    """The client that a connection describes. Raises `InvalidRequest`, naming the field that is wrong.

    `longest_read`: seconds at most for each wait for bytes, where the connection says more.
    """
    from airflow_batches.api import BatchesClient
    from airflow_batches.api.address import BASE_URL

    extras = _extras(connection)
    return BatchesClient(
        auth=_auth(connection, extras),
        base_url=_base_url(connection) or BASE_URL,
        anthropic_version=api_version(connection),
        betas=_betas(connection, extras),
        workspace_id=_text(extras, "workspace_id"),
        headers=_headers(connection, extras),
        timeout=(CONNECT_TIMEOUT, min(longest_read, _timeout(connection, extras))),
        retry=retry,
    )


def api_version(connection: Connection) -> str:
    """The API version that judges the requests."""
    from airflow_batches.api.client import VERSION

    return _text(_extras(connection), "anthropic_version") or VERSION


def default_model(connection: Connection) -> str | None:
    """The model for requests that name none."""
    return _text(_extras(connection), "model")


def _auth(connection: Connection, extras: Mapping[str, Any]) -> AuthBase:
    from airflow_batches.api import ApiKeyAuth, BearerAuth

    if not connection.password:
        raise _wrong(connection, "has no API key; put it into the password field")
    kinds = {"api_key": ApiKeyAuth, "bearer": BearerAuth}
    kind = _text(extras, "auth") or "api_key"
    if kind not in kinds:
        raise _wrong(connection, f"has auth {kind!r}; it must be one of {', '.join(kinds)}")
    return kinds[kind](connection.password)


def _base_url(connection: Connection) -> str | None:
    host = (connection.host or "").strip()
    if not host:
        return None
    scheme, _, rest = host.rpartition("://")
    name, slash, prefix = rest.partition("/")
    port = f":{connection.port}" if connection.port and ":" not in name else ""
    return f"{scheme or connection.schema or 'https'}://{name}{port}{slash}{prefix}"


def _headers(connection: Connection, extras: Mapping[str, Any]) -> dict[str, str]:
    headers = extras.get("headers") or {}
    try:
        headers = json.loads(headers) if isinstance(headers, str) else headers
        named = {str(name): str(value) for name, value in headers.items()}
    except (AttributeError, ValueError):
        raise _wrong(connection, "has headers that are not a JSON object") from None
    if secrets := SECRET_HEADERS & {name.lower() for name in named}:
        raise _wrong(connection, f"has a secret in its headers ({', '.join(secrets)}); it belongs into the password")
    return named


def _betas(connection: Connection, extras: Mapping[str, Any]) -> list[str]:
    betas = extras.get("anthropic_beta") or []
    betas = betas.split(",") if isinstance(betas, str) else betas
    if not isinstance(betas, list) or not all(isinstance(beta, str) for beta in betas):
        raise _wrong(connection, "has an anthropic_beta that is neither a text nor a list of texts")
    return [beta.strip() for beta in betas if beta.strip()]


def _timeout(connection: Connection, extras: Mapping[str, Any]) -> float:
    try:
        seconds = float(extras.get("timeout") or READ_TIMEOUT)
    except (TypeError, ValueError):
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise _wrong(connection, "has a timeout that is not a number of seconds")
    return seconds


def _extras(connection: Connection) -> Mapping[str, Any]:
    extras = connection.extra_dejson or {}
    if not isinstance(extras, Mapping):
        raise _wrong(connection, "has an extra that is not a JSON object")
    return extras


def _text(extras: Mapping[str, Any], name: str) -> str | None:
    return str(extras[name]).strip() or None if extras.get(name) is not None else None


def _wrong(connection: Connection, what: str) -> Exception:
    from airflow_batches.api import InvalidRequest

    return InvalidRequest(f"connection {connection.conn_id!r} {what}")
