"""A shard: the place of one batch's requests in a large JSONL object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import msgspec

from airflow_batches.api.errors import InvalidRequest


class Shard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a JSONL object: `requests` lines in the bytes `start` to `end`, decompressed.

    :param uri: the object.
    :param start: offset of the first byte.
    :param end: offset after the last byte.
    :param requests: the number of requests.
    :param ids_digest: the digest of their custom_ids.

    Example::

        with open_source(shard.to_dict()) as source:
            receipt = submit(client, source)
    """

    uri: str
    start: int
    end: int
    requests: int
    ids_digest: str

    def to_dict(self) -> dict[str, Any]:
        """Return the shard as plain JSON for `requests` of `MessageBatchSubmitOperator`."""
        return {name: getattr(self, name) for name in self.__struct_fields__}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """Read a shard from plain JSON.

        :param value: what `to_dict` returned.
        :raises InvalidRequest: when the value is not a shard.
        """
        try:
            return msgspec.convert(value, cls)
        except msgspec.ValidationError as exc:
            raise InvalidRequest(f"neither a list of requests nor a shard descriptor: {exc}") from exc
