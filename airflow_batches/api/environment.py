"""Check the TLS and proxy settings in the process's environment before anything is sent.

| variable, the first that is set                   | meaning                                               |
|---------------------------------------------------|-------------------------------------------------------|
| `REQUESTS_CA_BUNDLE`, then `CURL_CA_BUNDLE`       | trusted certificates: a file or a directory (requests)|
| `SSL_CERT_FILE`, then `SSL_CERT_DIR`              | the same, as Anthropic's SDK reads them               |
| none                                              | the certificates of the package certifi               |
| `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY` | proxies, as requests reads them                    |

The library requests raises a bare OSError for a missing bundle, and quotes a proxy with its password. A fault found
here belongs to this host, not to the connection: another worker may be configured correctly, so a retry can help.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from requests.utils import get_auth_from_url, prepend_scheme_if_needed, select_proxy
from urllib3.exceptions import HTTPError, ProxyError, SSLError
from urllib3.util import parse_url

from airflow_batches.api.conversion import chain
from airflow_batches.api.errors import EnvironmentFault

CA_VARIABLES: Final = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""In order of precedence. Those of the library requests come first, because it sends the calls."""
PROXY_VARIABLES: Final = ("https_proxy", "http_proxy", "all_proxy")
SOCKS: Final = frozenset({"socks4", "socks4a", "socks5", "socks5h"})
"""Proxy schemes for which requests needs the package PySocks."""


def trusted_certificates(environ: Mapping[str, str] = os.environ) -> str | bool:
    """Return the path of the trusted certificates for requests' `verify`; True for certifi's.

    :raises EnvironmentFault: when a variable names a path that does not exist.
    """
    name = _ca_variable(environ)
    if name is None:
        return True
    path = environ[name]
    # OpenSSL accepts several directories and skips those that do not exist.
    places = path.split(os.pathsep) if name == "SSL_CERT_DIR" else [path]
    if not any(map(_exists, places)):
        raise EnvironmentFault(
            f"{name} names {path!r}, which does not exist. Nothing was sent. "
            "Correct or unset the variable in the environment of this process."
        )
    return path


def check_proxy(url: str, proxies: Mapping[str, str]) -> None:
    """Check the proxy that applies to a URL.

    :raises EnvironmentFault: when it cannot be used.
    """
    proxy = select_proxy(url, dict(proxies))
    if not proxy:
        return
    wrong = _wrong_with_proxy(proxy)
    if wrong:
        raise EnvironmentFault(
            f"{_proxy_variable(proxy)} {wrong}. Nothing was sent. "
            "Correct or unset it in the environment of this process, or name the API's host in NO_PROXY."
        )


def advice(error: Exception, environ: Mapping[str, str] = os.environ) -> str:
    """Return the setting of the environment that may have caused a failed connection.

    :return: a sentence; empty if there is no such setting.
    """
    links = chain(error)
    if any(isinstance(link, ProxyError) for link in links):
        login = "; 407 asks for a user and a password in it" if any("407" in str(link) for link in links) else ""
        return f"The way to the API is a proxy, from the environment of this process (HTTPS_PROXY or HTTP_PROXY){login}"
    if any(isinstance(link, SSLError) for link in links):
        name = _ca_variable(environ)
        source = f"those of {name}={environ[name]}" if name else "those of the package certifi"
        return (
            f"Trusted certificates are {source}. Where a proxy inspects TLS, "
            "name a file with its certificate in REQUESTS_CA_BUNDLE or SSL_CERT_FILE"
        )
    return ""


def _ca_variable(environ: Mapping[str, str]) -> str | None:
    return next((name for name in CA_VARIABLES if environ.get(name)), None)


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # too long, or with characters that no path can hold
        return False


def _wrong_with_proxy(proxy: str) -> str | None:
    """Say why a proxy cannot be used, without quoting it: it may hold a password."""
    try:
        parts = parse_url(prepend_scheme_if_needed(proxy, "http"))  # type: ignore[no-untyped-call]  # as requests does
        (parts.host or "").encode("idna")
        for part in get_auth_from_url(proxy):
            (part or "").encode("latin-1")  # the only characters that a Proxy-Authorization header can hold
    except (HTTPError, ValueError, TypeError):  # requests joins a missing host to a user: TypeError
        return "is not the address of a proxy, like http://proxy.example:3128"
    if not parts.host:
        return "is not the address of a proxy, like http://proxy.example:3128: it has no host"
    if parts.scheme in SOCKS:
        return None if find_spec("socks") else "is a SOCKS proxy, which needs: pip install pysocks"
    return None if parts.scheme in {"http", "https"} else "has a scheme that is neither http, https nor socks"


def _proxy_variable(proxy: str) -> str:
    names = (name for each in PROXY_VARIABLES for name in (each, each.upper()) if os.environ.get(name) == proxy)
    return next(names, "the proxy in the system's settings")
