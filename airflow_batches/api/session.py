"""The client's session: requests, with five changes.

- Redirects: requests reads a redirect's body and prepares the next request even when it does not follow it. Here a
  redirect is an answer like any other.
- Early answers: a server may refuse a body before it has read it, then close. urllib3 stops sending and reads the
  answer after a broken pipe, but not after the error that TLS reports instead. Here it does after both.
- Closing: urllib3 only drops its connections. Their sockets stay open as long as an object, such as an error's
  traceback, refers to an answer. Here they are closed.
- Invalid input: a URL or a header that cannot be sent raises `InvalidRequest` while the request is prepared. Later
  errors come from the network.
- Environment: TLS and proxy settings are checked (`environment`).
"""

from __future__ import annotations

import errno
import os
import ssl
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from airflow_batches.api.address import checked_headers
from airflow_batches.api.environment import check_proxy, trusted_certificates
from airflow_batches.api.errors import InvalidRequest


class Session(requests.Session):
    """A `requests` session with the changes listed above."""

    def __init__(self) -> None:
        super().__init__()
        self.mount("https://", _Adapter())
        self.mount("http://", _Adapter())

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return None: no answer is a redirect to follow."""

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """Prepare the request for sending.

        :raises InvalidRequest: when it cannot be sent. The message quotes nothing, because an auth header is secret.
        """
        try:
            prepared = super().prepare_request(request)
            checked_headers({name: _text(value) for name, value in prepared.headers.items()})
        except ValueError as exc:
            refused = InvalidRequest(f"this cannot be sent ({type(exc).__name__}): check base URL, auth and headers")
        else:
            return prepared
        # Raised outside the except block: the exception chain would hold the header.
        raise refused

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        """Add the TLS and proxy settings of the environment.

        :raises EnvironmentFault: when they cannot be used.
        """
        settings: Any = super().merge_environment_settings(url, proxies, stream, verify, cert)
        check_proxy(url, settings["proxies"])
        if url.lower().startswith("https:"):
            settings["verify"] = trusted_certificates()
        return settings


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


class _Connection(HTTPSConnection):
    def send(self, data: Any) -> None:
        try:
            super().send(data)
        except ssl.SSLEOFError as exc:
            raise BrokenPipeError(errno.EPIPE, "the server closed the connection") from exc


class _Pool(HTTPSConnectionPool):
    ConnectionCls = _Connection


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": HTTPConnectionPool, "https": _Pool}

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        host, tls = super().build_connection_pool_key_attributes(request, verify, cert)
        if _several_directories(verify):  # requests would treat it as a file name
            tls["ca_cert_dir"] = tls.pop("ca_certs")
        return host, tls

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        if not _several_directories(verify):  # the pool has them already, and requests supports only one
            super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        pools = self.poolmanager.pools
        for key in pools.keys():  # noqa: SIM118  # this container does not support iteration
            pools[key].close()
        super().close()


def _several_directories(verify: str | bool | None) -> bool:
    """Whether this is a list of directories in the format of SSL_CERT_DIR."""
    return isinstance(verify, str) and os.pathsep in verify and not os.path.exists(verify)  # noqa: PTH110  # as requests
