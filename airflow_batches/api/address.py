"""Where requests go and under which headers, checked before anything is sent.

What cannot be sent is refused here, because requests would quote it in its own errors, secrets and all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlsplit

from requests import PreparedRequest

from airflow_batches.api.errors import InvalidRequest

BASE_URL: Final = "https://api.anthropic.com"
BATCHES: Final = "/v1/messages/batches"

_BASE: Final = re.compile(r"https?://[^\s/?#@\\]+(/[^\s?#\\]*)?", re.IGNORECASE)
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"([\x21-\x7e]([\t\x20-\x7e]*[\x21-\x7e])?)?")


def batch_path(batch_id: str, tail: str = "") -> str:
    """The path of a batch, its id quoted so that it stays one segment."""
    refused = InvalidRequest(f"{batch_id!r} is not a batch id")
    if not batch_id or batch_id in {".", ".."}:
        raise refused
    try:
        return f"{BATCHES}/{quote(batch_id, safe='')}{tail}"
    except (UnicodeEncodeError, TypeError):  # no text, or a number
        raise refused from None


def checked_base(url: str) -> str:
    """A base URL without its last slash; it may have a path prefix."""
    url = url.strip()
    if not (_BASE.fullmatch(url) and _can_be_dialled(url)):
        raise InvalidRequest(f"the base URL must be like {BASE_URL}, with no credentials, query or fragment")
    return url.rstrip("/")


def _can_be_dialled(url: str) -> bool:
    """Whether requests and the resolver take the host and the port."""
    try:
        prepared = PreparedRequest()
        prepared.prepare_url(url, None)
        (urlsplit(prepared.url or "").hostname or "").encode("idna")
        return urlsplit(url).port != 0
    except ValueError:  # a port, an address or a name that is none
        return False


def checked_headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    """The headers, if each is one that can be sent."""
    for name, value in headers.items():
        if not (_HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value)):
            raise InvalidRequest(f"the header {name!r} has characters that no header can hold")
    return headers
