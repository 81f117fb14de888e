"""An object in S3.

It is a multipart upload that is joined at `commit`, or one PUT if it is small.

Rules:
- `commit` is conditional: `If-Match` with the ETag that was seen, `If-None-Match: *` if there was no object. The store
  answers 412 when another object is there by then, 409 while another is being written.
- A store that answers 501 to a condition gets the same call without one. Some stores ignore conditions
  (`rclone serve s3`), so `commit` also looks just before.
- The file object of s3fs supports `If-None-Match` only, so the calls are made here, through s3fs and with its options.
"""

from __future__ import annotations

import contextlib
import errno
from typing import Any, Final

from airflow_batches.landing.errors import store_errors
from airflow_batches.landing.location import Location
from airflow_batches.landing.version import ANY_VERSION, ObjectVersion

PART_BYTES: Final = 5 * 2**20
"""Bytes of one part: S3's minimum (AWS docs, "Amazon S3 multipart upload limits"). Chosen, because several copies of a
part are in memory while it is uploaded."""
GROWTH_PARTS: Final = 1_000
"""Parts of that size; later ones grow with the object. Chosen: a tenth of the 10,000 that S3 accepts (same page), which
the growing parts never reach."""
CONFLICTS: Final = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "NoSuchKey"})
"""Error codes of a condition that does not hold. `NoSuchKey`: the object to replace was removed."""


class S3Upload:
    """One upload, through an s3fs file system.

    :param location: the object.
    :param growth_parts: parts of `PART_BYTES`, after which they grow with the object.
    """

    def __init__(self, location: Location, growth_parts: int = GROWTH_PARTS) -> None:
        self.published: ObjectVersion | None = None
        self._location = location
        self._fs = _s3fs(location)
        bucket, key, _ = self._fs.split_path(location.path)
        self._object = {"Bucket": bucket, "Key": key}
        self._pending = bytearray()
        self._bytes = 0
        self._growth_parts = growth_parts
        self._upload: dict[str, Any] = {}
        self._parts: list[dict[str, Any]] = []

    def write(self, data: bytes) -> None:
        """Append; blocks while parts are uploaded."""
        self._pending += data
        self._bytes += len(data)
        size = max(PART_BYTES, self._bytes // self._growth_parts)
        while len(self._pending) > size:
            self._send(bytes(self._pending[:size]))
            del self._pending[:size]

    def finish(self) -> None:
        """Upload the last part, if there are parts."""
        if self._parts:
            self._send(bytes(self._pending))
            self._pending.clear()

    def commit(self, replaces: ObjectVersion | None = ANY_VERSION) -> ObjectVersion:
        """Publish, if the key still has the version to replace."""
        self._location.require(replaces)  # for stores that ignore conditions
        condition = _condition(replaces)
        with store_errors("writing", self._location.uri):
            try:
                answer = self._publish(condition)
            except OSError as exc:
                if condition and exc.errno == errno.ENOSYS:
                    answer = self._publish({})
                elif condition and _code(exc) in CONFLICTS:
                    raise self._location.overtaken() from exc
                else:
                    raise
        self._fs.invalidate_cache(self._location.parent)
        self._upload = {}
        self.published = ObjectVersion(self._bytes, answer.get("ETag"))
        self.published = self._location.published(self.published)
        return self.published

    def discard(self) -> None:
        """Abort the upload."""
        if self._upload:
            with store_errors("discarding", self._location.uri), contextlib.suppress(FileNotFoundError):
                self._fs.call_s3("abort_multipart_upload", **self._upload)
        self._upload = {}

    def _send(self, data: bytes) -> None:
        with store_errors("writing", self._location.uri):
            if not self._upload:
                begun = self._fs.call_s3("create_multipart_upload", **self._object)
                self._upload = {**self._object, "UploadId": begun["UploadId"]}
            number = len(self._parts) + 1
            sent = self._fs.call_s3("upload_part", PartNumber=number, Body=data, **self._upload)
            checksums = {name: value for name, value in sent.items() if name == "ChecksumSHA256"}
            self._parts.append({"PartNumber": number, "ETag": sent["ETag"], **checksums})

    def _publish(self, condition: dict[str, str]) -> dict[str, Any]:
        if self._parts:
            parts = {"Parts": self._parts}
            joined: dict[str, Any] = self._fs.call_s3(
                "complete_multipart_upload", **self._upload, MultipartUpload=parts, **condition
            )
            return joined
        put: dict[str, Any] = self._fs.call_s3("put_object", **self._object, Body=bytes(self._pending), **condition)
        return put


def remove_s3(location: Location, version: ObjectVersion) -> None:
    """Remove the object if it still has this version."""
    fs = _s3fs(location)
    bucket, key, _ = fs.split_path(location.path)
    with store_errors("removing", location.uri):
        if location.version() == version:
            with contextlib.suppress(FileNotFoundError):
                fs.call_s3("delete_object", Bucket=bucket, Key=key, **_condition(version))
            fs.invalidate_cache(location.parent)


def _s3fs(location: Location) -> Any:
    """Return the file system untyped; s3fs has no types."""
    return location.fs


def _condition(replaces: ObjectVersion | None) -> dict[str, str]:
    if replaces is None:
        return {"IfNoneMatch": "*"}
    return {"IfMatch": replaces.tag} if replaces.tag else {}


def _code(exc: OSError) -> str | None:
    """Return the store's error code, from the cause of the error that s3fs raised."""
    response = getattr(exc.__cause__, "response", None) or {}
    code: str | None = response.get("Error", {}).get("Code")
    return code
