"""The receipt of a submission: its requests and their batch.

It is small JSON for XCom. Landing checks the results with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

import msgspec

if TYPE_CHECKING:
    from airflow_batches.api import MessageBatch


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """The requests of one create.

    `bytes` is the length of the create's body and `sha256` its hash. `ids_digest` stands for the custom_ids and
    `fingerprint` for the whole requests; neither depends on their order. `models`
    names at most 20. `source` is the URI or "requests".
    """

    requests: int
    bytes: int
    sha256: str
    ids_digest: str
    fingerprint: str
    models: tuple[str, ...] = ()
    source: str = ""


class Receipt(Sent, frozen=True, kw_only=True):
    """The requests of a create, with the id of their batch and `created_at`, the API's time.

    Example::

        receipt = Receipt.from_dict(ti.xcom_pull(task_ids="submit", key="receipt"))
        receipt.batch_id, receipt.requests
    """

    batch_id: str
    created_at: datetime | None = None

    @classmethod
    def of(cls, sent: Sent, batch: MessageBatch) -> Self:
        """Make the receipt of a batch.

        :param sent: the requests of the create.
        :param batch: the batch that it created.
        """
        values = {name: getattr(sent, name) for name in Sent.__struct_fields__}
        return cls(batch_id=batch.id, created_at=batch.created_at, **values)

    def to_dict(self) -> dict[str, Any]:
        """Return the receipt as plain JSON, for XCom."""
        plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return plain

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """Read a receipt from plain JSON.

        :param value: what `to_dict` returned.
        :raises msgspec.ValidationError: when the value is not a receipt.
        """
        return msgspec.convert(value, cls)
