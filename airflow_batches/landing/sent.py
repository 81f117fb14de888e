"""What a receipt says of the ids that were submitted: their digest and their number. Pure.

It proves that the results' ids are those, and cannot name one that differs: `with_names` in `verify` names them from
the ids themselves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import msgspec

from airflow_batches.api.errors import InvalidRequest

Receipt: TypeAlias = Mapping[str, Any] | msgspec.Struct | str
"""A submission's receipt, or only its ids digest."""

IDS_DIGEST: Final = re.compile(r"[0-9a-fA-F]{32}")


class SubmittedIds(msgspec.Struct, frozen=True):
    """What a receipt says of the ids: their digest, and their number where it has one."""

    digest: str
    requests: int | None = None


def sent_as(receipt: Receipt | None, batch_id: str) -> SubmittedIds | None:
    """What a receipt says of a batch's ids. Raises `InvalidRequest` for what is no receipt of this batch."""
    if receipt is None:
        return None
    if isinstance(receipt, msgspec.Struct):
        receipt = msgspec.structs.asdict(receipt)
    if not isinstance(receipt, Mapping | str):
        raise InvalidRequest(f"receipt must be that of one batch, or its ids digest, not {type(receipt).__name__}")
    fields = {"ids_digest": receipt} if isinstance(receipt, str) else receipt
    if fields.get("batch_id", batch_id) != batch_id:
        raise InvalidRequest(f"the receipt is of {fields['batch_id']}, not of {batch_id}")
    digest = str(fields.get("ids_digest"))
    if not IDS_DIGEST.fullmatch(digest):
        said = f"the receipt's ids_digest is not 32 hex digits: {digest[:40]!r}"
        raise InvalidRequest(f"{said} (a template makes text of a receipt, an XComArg does not)")
    requests = fields.get("requests")
    return SubmittedIds(digest.lower(), requests if isinstance(requests, int) and requests > 0 else None)
