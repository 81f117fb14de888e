"""Convert the places that users give to URIs, and redact URIs for messages.

| given                                             | URI                           |
|---------------------------------------------------|-------------------------------|
| text with a scheme                                | the same text                 |
| `file://localhost/data/x`, `local:///data/x`      | `file:///data/x`              |
| `pathlib.Path("/data/x")`                         | `file:///data/x`              |
| `ObjectStoragePath("s3://bucket/x", conn_id="c")` | `s3://c@bucket/x`             |
| `file://data/x`: "data" is a host here            | refused, with a suggestion    |
| a text without a scheme, a relative path          | refused, with a suggestion    |

Relative paths are refused because they depend on the current folder of the worker that runs the task. A path in a
`file` URI is used unchanged: nothing is percent-decoded, and `?` and `#` are parts of a name.
"""

from __future__ import annotations

import os
from typing import Any, Final

LOCAL: Final = frozenset({"file", "local"})
"""Schemes of the local disk; fsspec knows both."""
KEYED: Final = frozenset({"s3", "s3a", "gs", "gcs"})
"""Schemes whose URIs have no query: a `?` is part of the key."""
WITHOUT_USER: Final = KEYED | {"http", "https"}
"""Schemes where the part before `@` is a connection id or a user. (In Azure's `abfs://container@account/…` it is the
container.)"""


def is_path(place: object) -> bool:
    """Whether this is a path object, such as `pathlib.Path` or `ObjectStoragePath`."""
    return isinstance(place, os.PathLike) or (hasattr(place, "protocol") and hasattr(place, "path"))


def path_text(place: Any) -> Any:
    """Convert a path object to text that Airflow can render as a template.

    Other values are returned unchanged.

    Some versions of Airflow call `Path.resolve` on a path in a template field.
    """
    if not is_path(place):
        return place
    text = os.fsdecode(place) if isinstance(place, os.PathLike) else str(place)
    return f"file://{text}" if text.startswith("/") else text


def to_uri(place: object) -> str:
    """Convert a place to a URI.

    :param place: a URI or a path object (see the table).
    :raises InvalidRequest: when it is neither, or a relative path.
    """
    from airflow_batches.api.errors import InvalidRequest  # not at the top: DAG files import this module

    text = path_text(place)
    if not isinstance(text, str):
        raise InvalidRequest(f"{place!r} is not a URI; write file:///folder/name or s3://bucket/key")
    scheme, separator, rest = text.partition("://")
    if not separator or not rest:
        raise InvalidRequest(f"{text!r} is not a URI; write {_likely_uri(text)} or s3://bucket/key")
    if scheme not in LOCAL:
        return text
    host, slash, path = rest.partition("/")
    if host in {"", "localhost"} and slash:
        return f"file:///{path}"
    raise InvalidRequest(f"{text!r} names a host, not a folder, before the third slash; write file:///{rest}")


def conn_id_for(uri: str, default: str | None) -> str | None:
    """Return the default connection of a store for a URI that names none, else None.

    Airflow would prefer the default to the connection in the URI.
    """
    return None if "@" in uri.partition("://")[2].partition("/")[0] else default


def redact_uri(uri: str) -> str:
    """Remove the parts of a URI that may be secret: user, password and query.

    File names and keys stay.
    """
    scheme, separator, rest = uri.partition("://")
    if scheme in LOCAL or not separator:
        return uri
    place, slash, key = (rest if scheme in KEYED else rest.partition("?")[0]).partition("/")
    if scheme in {"http", "https"}:
        key = key.partition("#")[0]
    user, _, host = place.rpartition("@")
    hidden = ":" in user or scheme in WITHOUT_USER
    return f"{scheme}://{host if hidden else place}{slash}{key}"


def _likely_uri(text: str) -> str:
    """Return the URI that the author of this text probably meant."""
    scheme, colon, rest = text.partition(":")
    if colon and scheme != "file" and "/" not in scheme:
        return f"{scheme}://{rest.lstrip('/') or 'bucket/key'}"
    path = text.removeprefix("file:")
    return (
        f"file://{path}" if path.startswith("/") and path.strip("/") else f"file:///folder/{path.strip('/') or 'name'}"
    )
