"""The session beneath the client: requests, with three habits changed.

- Told not to follow a redirect, requests still reads it whole and prepares the next request. Here it is an answer
  like any other.
- A server may refuse a body before it has read it: answer and close. urllib3 then gives up sending and reads the
  answer, but only where the closed socket shows as a broken pipe, not where TLS reports it first. Here it does both.
- Closed, urllib3 only forgets its connections: their sockets stay open as long as anything, an error's traceback for
  one, holds an answer that came over them. Here they are closed.
"""

from __future__ import annotations

import errno
import ssl
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool


class Session(requests.Session):
    """What the client sends by."""

    def __init__(self) -> None:
        super().__init__()
        self.mount("https://", _Adapter())
        self.mount("http://", _Adapter())

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None, whatever the answer says."""


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

    def close(self) -> None:
        pools = self.poolmanager.pools
        for key in pools.keys():  # noqa: SIM118  # a container that refuses to be iterated
            pools[key].close()
        super().close()
