"""The session beneath the client: requests, with five habits changed.

- Told not to follow a redirect, requests still reads it whole and prepares the next request. Here it is an answer
  like any other.
- A server may refuse a body before it has read it: answer and close. urllib3 then gives up sending and reads the
  answer, but only where the closed socket shows as a broken pipe, not where TLS reports it first. Here it does both.
- Closed, urllib3 only forgets its connections: their sockets stay open as long as anything, an error's traceback for
  one, holds an answer that came over them. Here they are closed.
- A URL or a header that cannot be sent is refused while the request is prepared, as `InvalidRequest`. What is raised
  later is the network's.
- TLS and proxies of the environment are checked (`environment`).
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
    """What the client sends by."""

    def __init__(self) -> None:
        super().__init__()
        self.mount("https://", _Adapter())
        self.mount("http://", _Adapter())

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None, whatever the answer says."""

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """The request as it is sent. Raises `InvalidRequest`, quoting nothing: an auth object's header is secret."""
        try:
            prepared = super().prepare_request(request)
            checked_headers({name: _text(value) for name, value in prepared.headers.items()})
        except ValueError as exc:
            refused = InvalidRequest(f"this cannot be sent ({type(exc).__name__}): check base URL, auth and headers")
        else:
            return prepared
        # Not where it was caught: the chain would hold the header.
        raise refused

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        """What the environment adds. Raises `EnvironmentFault`."""
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
        if _several_directories(verify):  # requests takes it for the name of a file
            tls["ca_cert_dir"] = tls.pop("ca_certs")
        return host, tls

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        if not _several_directories(verify):  # those have been given to the pool, and requests knows of one only
            super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        pools = self.poolmanager.pools
        for key in pools.keys():  # noqa: SIM118  # a container that refuses to be iterated
            pools[key].close()
        super().close()


def _several_directories(verify: str | bool | None) -> bool:
    """Whether this is a list as OpenSSL takes it in SSL_CERT_DIR."""
    return isinstance(verify, str) and os.pathsep in verify and not os.path.exists(verify)  # noqa: PTH110  # as requests
