"""Serve the page's files, as an ASGI app that Airflow mounts beside its own.

The files are the same for all readers and hold no data, so getting them needs no login. The content security policy
allows scripts and styles from these files only, and calls to Airflow's own host only.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from starlette.applications import Starlette

STATIC: Final = Path(__file__).parent / "static"
POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'self'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""The last two turn every assignment of HTML text into an error, so that text of others is only ever shown as text."""
HEADERS: Final = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-cache"),  # the names stay the same in each version; an ETag spares the download
)

Message = MutableMapping[str, Any]
"""An ASGI message or scope."""
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


async def page(scope: Message, receive: Receive, send: Send) -> None:
    """Answer one request with a file.

    :param scope: ASGI's scope.
    :param receive: ASGI's receive.
    :param send: ASGI's send.
    """

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *HEADERS]
        await send(message)

    await _files()(scope, receive, send_with_headers)


@cache
def _files() -> Starlette:
    # Imported here: schedulers and workers import the plugin too, and have no use for a web framework.
    from starlette.applications import Starlette
    from starlette.routing import Mount
    from starlette.staticfiles import StaticFiles

    return Starlette(routes=[Mount("/", StaticFiles(directory=STATIC, html=True))])
