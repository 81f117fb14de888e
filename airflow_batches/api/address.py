"""Check URLs and headers before anything is sent.

The library requests quotes an invalid URL or header in its own errors, including secrets. The checks here run first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlsplit

from requests import PreparedRequest

from airflow_batches.api.defaults import BASE_URL
from airflow_batches.api.errors import InvalidRequest

BATCHES: Final = "/v1/messages/batches"
COUNT_TOKENS: Final = "/v1/messages/count_tokens"

_BASE: Final = re.compile(r"https?://[^\s/?#@\\]+(/[^\s?#\\]*)?", re.IGNORECASE)
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"([\x21-\x7e]([\t\x20-\x7e]*[\x21-\x7e])?)?")


def batch_path(batch_id: str, tail: str = "") -> str:
    """Return the URL path of a batch, with its id quoted so that it stays one segment.

    :raises InvalidRequest: when this is not a batch id.
    """
    refused = InvalidRequest(f"{batch_id!r} is not a batch id")
    if not batch_id or batch_id in {".", ".."}:
        raise refused
    try:
        return f"{BATCHES}/{quote(batch_id, safe='')}{tail}"
    except (UnicodeEncodeError, TypeError):  # half a surrogate pair, or not a text
        raise refused from None


def checked_base(url: str) -> str:
    """Return a base URL without its last slash; it may have a path prefix.

    :raises InvalidRequest: when requests cannot be sent there.
    """
    url = url.strip()
    if not (_BASE.fullmatch(url) and _can_be_dialled(url)):
        raise InvalidRequest(f"the base URL must be like {BASE_URL}, with no credentials, query or fragment")
    return url.rstrip("/")


def _can_be_dialled(url: str) -> bool:
    """Whether the library requests and the resolver accept the host and the port."""
    try:
        prepared = PreparedRequest()
        prepared.prepare_url(url, None)
        (urlsplit(prepared.url or "").hostname or "").encode("idna")
        return urlsplit(url).port != 0
    except ValueError:  # an invalid port, address or name
        return False


def checked_headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return the headers unchanged.

    :raises InvalidRequest: when one of them cannot be sent.
    """
    for name, value in headers.items():
        if not (_HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value)):
            raise InvalidRequest(f"the header {name!r} has characters that no header can hold")
    return headers
