"""Compare the ids that were read with a receipt, and name one that differs. Pure.

It names the missing id and the foreign id if there is at most one of each. A receipt has two sums over all ids: of
their hashes (the digest), and of the ids as numbers. The digest's surplus is the hash of the foreign id, which is among
the ids that were read. The other sum's deficit is the missing id minus the foreign one; its hash proves that id.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, TypeAlias

import msgspec

from airflow_batches.api.digest import MODULUS, IdsDigest, id_of, ids_digest, number_of
from airflow_batches.api.errors import InvalidRequest

Receipt: TypeAlias = Mapping[str, Any] | msgspec.Struct | str
"""A submission's receipt, or only its ids digest."""

IDS_DIGEST: Final = re.compile(r"[0-9a-fA-F]{32}")
IDS_SUM: Final = re.compile(r"[0-9a-fA-F]*")


class Sent(msgspec.Struct, frozen=True):
    """A receipt's digest of the ids, and their sum and number if it has them."""

    digest: str
    sum: int | None = None
    requests: int | None = None


class Strangers(msgspec.Struct, frozen=True):
    """The ids that differ: at most one of each kind, none if there are more."""

    missing: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()


def sent_as(receipt: Receipt | None, batch_id: str) -> Sent | None:
    """Read what a receipt says about a batch's ids.

    :param receipt: the receipt or its ids digest; None for none.
    :param batch_id: the batch that lands.
    :raises InvalidRequest: it is not a receipt, or not this batch's.
    """
    if receipt is None:
        return None
    if isinstance(receipt, msgspec.Struct):
        receipt = msgspec.structs.asdict(receipt)
    if not isinstance(receipt, Mapping | str):
        raise InvalidRequest(f"receipt must be that of one batch, or its ids digest, not {type(receipt).__name__}")
    fields = {"ids_digest": receipt} if isinstance(receipt, str) else receipt
    if fields.get("batch_id", batch_id) != batch_id:
        raise InvalidRequest(f"the receipt is of {fields['batch_id']}, not of {batch_id}")
    digest, number = str(fields.get("ids_digest")), fields.get("ids_sum") or ""
    if not IDS_DIGEST.fullmatch(digest):
        said = f"the receipt's ids_digest is not 32 hex digits: {digest[:40]!r}"
        raise InvalidRequest(f"{said} (a template makes text of a receipt, an XComArg does not)")
    if not isinstance(number, str) or not IDS_SUM.fullmatch(number):
        raise InvalidRequest(f"the receipt's ids_sum is not hex digits: {str(number)[:40]!r}")
    requests = fields.get("requests")
    return Sent(
        digest.lower(),
        int(number, 16) if number else None,
        requests if isinstance(requests, int) and requests > 0 else None,
    )


def strangers(sent: Sent, came: Collection[str], digest: IdsDigest, *, missing: int, foreign: int) -> Strangers:
    """Name the missing and the foreign id, if there is at most one of each.

    :param sent: the receipt's sums.
    :param came: the ids that were read.
    :param digest: the digest of `came`.
    :param missing: how many ids are missing.
    :param foreign: how many ids are foreign; 0 of both, with other ids, means that one replaced another.
    """
    surplus = int(digest.hexdigest(), 16) - int(sent.digest, 16)
    lack = None if sent.sum is None else sent.sum - digest.sum
    for suspects in _suspects(lack, came, missing, foreign):
        if (_hash(suspects.foreign) - _hash(suspects.missing) - surplus) % MODULUS == 0:
            return suspects
    return Strangers()


def _suspects(lack: int | None, came: Collection[str], missing: int, foreign: int) -> Iterator[Strangers]:
    match missing, foreign:
        case 0, 1:
            yield from (Strangers(foreign=(custom_id,)) for custom_id in came)
        case 1, 0 if lack is not None and (absent := id_of(lack)):
            yield Strangers(missing=(absent,))
        case 0, 0 if lack is not None:
            for custom_id in came:
                if absent := id_of(lack + number_of(custom_id)):
                    yield Strangers((absent,), (custom_id,))


def _hash(custom_ids: Collection[str]) -> int:
    return int(ids_digest(custom_ids), 16)
