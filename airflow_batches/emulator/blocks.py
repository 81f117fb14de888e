"""The shape of content blocks, and what the API cannot fetch for them.

Members and tags are those of the official SDK (`tests/contract/test_members.py`). Blocks that only servers make
are accepted as they are.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import urlsplit

from airflow_batches.emulator.refusal import Refused
from airflow_batches.emulator.schema import (
    Check,
    MemberPath,
    Members,
    Tagged,
    anything,
    boolean,
    dictionary,
    items,
    nullable,
    one_of,
    string,
    text_or,
    variant,
)

CACHE_CONTROL: Final = nullable(Tagged({"ephemeral": variant({}, {"ttl": one_of("5m", "1h")})}))
_CITED: Final = nullable(Members({}, {"enabled": boolean}))
_MARK: Final = {"cache_control": CACHE_CONTROL}
_URL: Final = variant({"url": string}, {})
_FILE: Final = variant({"file_id": string}, {})
_IMAGE_TYPES: Final = one_of("image/jpeg", "image/png", "image/gif", "image/webp")
_TEXT: Final = variant({"text": string}, {"citations": anything, **_MARK})
_IMAGE: Final = variant(
    {
        "source": Tagged(
            {"base64": variant({"data": string, "media_type": _IMAGE_TYPES}, {}), "url": _URL, "file": _FILE}
        )
    },
    {"transformations": anything, **_MARK},
)
_DOCUMENT: Final = variant(
    {
        "source": Tagged(
            {
                "base64": variant({"data": string, "media_type": one_of("application/pdf")}, {}),
                "text": variant({"data": string, "media_type": one_of("text/plain")}, {}),
                "content": variant({"content": text_or(items(Tagged({"text": _TEXT, "image": _IMAGE})))}, {}),
                "url": _URL,
                "file": _FILE,
            }
        )
    },
    {"citations": _CITED, "context": nullable(string), "title": nullable(string), **_MARK},
)
SYSTEM_BLOCK: Final = Members({"type": one_of("text"), "text": string}, {"citations": anything, **_MARK})
_SEARCH_RESULT: Final = variant(
    {"content": items(SYSTEM_BLOCK), "source": string, "title": string}, {"citations": _CITED, **_MARK}
)
_IN_A_RESULT: Final = Tagged(
    {
        "text": _TEXT,
        "image": _IMAGE,
        "document": _DOCUMENT,
        "search_result": _SEARCH_RESULT,
        "tool_reference": anything,
        "browser_state": anything,
    }
)
_MADE_BY_SERVERS: Final = (
    "server_tool_use",
    "web_search_tool_result",
    "web_fetch_tool_result",
    "code_execution_tool_result",
    "bash_code_execution_tool_result",
    "text_editor_code_execution_tool_result",
    "tool_search_tool_result",
    "container_upload",
)
BLOCKS: Final[dict[str, Check]] = {
    "text": _TEXT,
    "image": _IMAGE,
    "document": _DOCUMENT,
    "search_result": _SEARCH_RESULT,
    "thinking": variant({"signature": string, "thinking": string}, {}),
    "redacted_thinking": variant({"data": string}, {}),
    "tool_use": variant(
        {"id": string, "input": dictionary, "name": string},
        {"caller": anything, "toolset_name": nullable(string), **_MARK},
    ),
    "tool_result": variant(
        {"tool_use_id": string},
        {"content": text_or(items(_IN_A_RESULT)), "is_error": boolean, "toolset_name": nullable(string), **_MARK},
    ),
} | dict.fromkeys(_MADE_BY_SERVERS, anything)
"""Type of a content block -> check of its members."""
_BLOCK: Final = Tagged(BLOCKS)


def check_blocks(blocks: Iterable[Any], at: MemberPath) -> None:
    """Check the content blocks of a turn. Raises Refused."""
    for number, block in enumerate(blocks):
        _BLOCK(block, at / number)
        source = block.get("source")
        if isinstance(source, dict) and source.get("type") == "url" and not _fetchable(str(source.get("url"))):
            raise Refused("Unable to download the file. Please verify the URL and try again.", ran=True)


def _fetchable(url: str) -> bool:
    """Tell whether the API could fetch a URL. The emulator fetches nothing: it goes by the name alone.

    Not fetchable: other schemes than HTTP, private and loopback addresses, names without a dot or reserved for tests
    (RFC 6761). Every other URL counts as fetchable.
    """
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or not host:
        return False
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return "." in host and not host.endswith((".invalid", ".test", ".localhost", ".local", ".internal"))
