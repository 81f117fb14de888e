"""Make an API client from an Airflow connection. The hook and operators import this when they run, not in DAG files.

| field of the connection  | meaning                                                            |
|--------------------------|--------------------------------------------------------------------|
| password                 | the API key                                                        |
| host (schema, port)      | base URL; Anthropic's own when empty                               |
| extra `auth`             | `api_key` (header `x-api-key`) or `bearer` (`Authorization`)       |
| extra `model`            | model of requests that name none                                   |
| extra `anthropic_version`, `anthropic_beta`, `workspace_id`, `timeout`, `headers` | as their names say        |

A connection of type `anthropic`, made for Airflow's official Anthropic provider, has the key and the URL in the same
fields. Its extras are checked too: if they were ignored, a key of another vendor could be sent to Anthropic.

| extra of the official provider (1.2)       | here                                                         |
|--------------------------------------------|--------------------------------------------------------------|
| `platform`: `anthropic` or empty           | served                                                       |
| `platform`: anything else                  | refused: the password is the key of another vendor           |
| `model`                                    | served                                                       |
| `aws_region`, `project_id`, `region`, `resource` | not read: only refused platforms use them              |
| `workload_identity`                        | refused: only keys and bearer tokens are served              |
| `anthropic_client_kwargs`: `base_url`      | served; takes precedence over the host, as there             |
| … `timeout`, `default_headers`             | served unless `timeout`, `headers` are given                 |
| … `max_retries`                            | not read: `api.retry` decides about retries                  |
| … `api_key`, `auth_token`                  | refused: a secret belongs in the password                    |
| … anything else                            | refused                                                      |
| no password (credentials of the environment) | refused                                                    |
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from airflow_batches.api.auth import ApiKeyAuth, BearerAuth
from airflow_batches.api.client import BatchesClient
from airflow_batches.api.defaults import BASE_URL, CONNECT_TIMEOUT, NEWEST, READ_TIMEOUT
from airflow_batches.api.errors import InvalidRequest
from airflow_batches.api.retry import RetryPolicy

if TYPE_CHECKING:
    from airflow.sdk import Connection
    from requests.auth import AuthBase

SECRET_HEADERS: Final = frozenset({"authorization", "x-api-key", "proxy-authorization"})
SERVED_PLATFORM: Final = "anthropic"
PLATFORM_HINTS: Final[Mapping[str, str]] = {
    "aws": "Claude Platform on AWS has this API, but its address and its signatures are not served yet",
    "bedrock": "Amazon Bedrock does not have this API",
    "foundry": "Microsoft Foundry does not have this API",
    "vertex": "Google Vertex AI does not have this API",
}
"""Why another platform of the official provider is refused (that provider refuses batches on all but `aws` too)."""
CLIENT_KWARGS: Final = "anthropic_client_kwargs"
SERVED_KWARGS: Final = frozenset({"base_url", "timeout", "default_headers", "max_retries"})
SECRET_KWARGS: Final[Mapping[str, str]] = {
    "api_key": "move it into the password field",
    "auth_token": "move it into the password field and set the extra auth to bearer",
}


def client_for(
    connection: Connection, *, retry: RetryPolicy | None = None, longest_read: float = math.inf
) -> BatchesClient:
    """Make a client from a connection.

    :param connection: the Airflow connection.
    :param retry: which failures are retried; by default `RetryPolicy()`.
    :param longest_read: upper limit in seconds for the connection's timeout; none by default.
    :raises InvalidRequest: when the connection is wrong; the message names the field.
    """
    extras = _extras(connection)
    _refuse_other_platforms(connection, extras)
    kwargs = _client_kwargs(connection, extras)
    with _naming(connection):
        return BatchesClient(
            auth=_auth(connection, extras),
            base_url=_text(kwargs, "base_url") or _base_url(connection) or BASE_URL,
            anthropic_version=api_version(connection),
            betas=_betas(connection, extras),
            workspace_id=_text(extras, "workspace_id"),
            headers=_headers(connection, extras.get("headers") or kwargs.get("default_headers")),
            timeout=(
                CONNECT_TIMEOUT,
                min(longest_read, _timeout(connection, extras.get("timeout") or kwargs.get("timeout"))),
            ),
            retry=retry,
            name=_named(connection),
        )


def api_version(connection: Connection) -> str:
    """Return the API version that the connection sets, or the default."""
    return _text(_extras(connection), "anthropic_version") or NEWEST


def default_model(connection: Connection) -> str | None:
    """Return the connection's model for requests that name none."""
    return _text(_extras(connection), "model")


def _refuse_other_platforms(connection: Connection, extras: Mapping[str, Any]) -> None:
    """Raise `InvalidRequest` for a connection whose key belongs to another platform."""
    platform = (_text(extras, "platform") or SERVED_PLATFORM).lower()
    if platform != SERVED_PLATFORM:
        why = PLATFORM_HINTS.get(platform, "that platform is not known")
        raise _wrong(
            connection,
            f"has platform {platform!r} in its extra: {why}. Nothing was sent. Use a connection with an API key of "
            f"Anthropic's Console, and platform {SERVED_PLATFORM!r} or none",
        )
    if extras.get("workload_identity"):
        raise _wrong(
            connection,
            "has workload_identity in its extra, which is not served. Nothing was sent. Use a connection with an API "
            "key in its password, and without workload_identity",
        )


def _client_kwargs(connection: Connection, extras: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the arguments that the official provider passes to Anthropic's SDK; refuse those that are not served."""
    kwargs = extras.get(CLIENT_KWARGS) or {}
    if not isinstance(kwargs, Mapping):
        raise _wrong(connection, f"has {CLIENT_KWARGS} that is not a JSON object")
    for name in kwargs:
        if name not in SERVED_KWARGS:
            hint = SECRET_KWARGS.get(name, "it is not served: remove it, or use another connection")
            raise _wrong(connection, f"has {name!r} in the {CLIENT_KWARGS} of its extra; {hint}")
    return kwargs


def _auth(connection: Connection, extras: Mapping[str, Any]) -> AuthBase:
    if not connection.password:
        raise _wrong(
            connection, "has no API key; put it into the password field. Credentials of the environment are not read"
        )
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


def _headers(connection: Connection, headers: Any) -> dict[str, str]:
    headers = headers or {}
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


def _timeout(connection: Connection, given: Any) -> float:
    try:
        seconds = float(given or READ_TIMEOUT)
    except (TypeError, ValueError):
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise _wrong(connection, "has a timeout that is not a number of seconds")
    return seconds


def _extras(connection: Connection) -> Mapping[str, Any]:
    extras = connection.extra_dejson or {}
    if not isinstance(extras, Mapping):
        raise _wrong(connection, "has an extra that is not a JSON object")
    return extras


def _text(extras: Mapping[str, Any], name: str) -> str | None:
    return str(extras[name]).strip() or None if extras.get(name) is not None else None


@contextmanager
def _naming(connection: Connection) -> Iterator[None]:
    """Put the connection's id before the client's own `InvalidRequest` messages."""
    try:
        yield
    except InvalidRequest as error:
        if str(error).startswith(_named(connection)):
            raise
        refused = _wrong(connection, f"cannot be used: {error}")
    else:
        return
    # Raised outside the except block: the exception chain would hold the refused value.
    raise refused


def _wrong(connection: Connection, what: str) -> InvalidRequest:
    return InvalidRequest(f"{_named(connection)} {what}")


def _named(connection: Connection) -> str:
    return f"Connection {connection.conn_id!r}"
