"""Compare the results that were read with the batch. Pure.

Counts and ids in, a mismatch or None out.

| seen                                                        | called                                      |
|-------------------------------------------------------------|---------------------------------------------|
| fewer ids than the batch has requests                       | missing                                     |
| more ids than the batch has requests                        | foreign                                     |
| an id twice in one attempt to read the results              | doubled; the first line is kept             |
| the ids' digest is not the receipt's                        | other ids than those that were submitted    |
| more lines of a type than the batch counts                  | a wrong count                               |
| the batch counts no request at all, and there is no receipt | uncounted, until the submitted ids          |
|                                                             | are compared                                |

Missing and foreign ids are named, up to a limit, only where the ids that were submitted are given: counts and a digest
name none.

A batch holds at least one request, so counts of 0 mean that the API has not counted; they prove nothing. Then the
receipt's number of requests is used, or its digest, or the submitted ids.

Lines of an unknown type count as any known type: the batch's counts have no field for them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import msgspec

from airflow_batches.api.digest import ids_digest
from airflow_batches.api.errors import InvalidRequest
from airflow_batches.landing.mismatch import NAMED, Mismatch

Verify = Literal["error", "warn"]
Receipt: TypeAlias = Mapping[str, Any] | msgspec.Struct | str
"""A submission's receipt, or only its ids digest."""
IDS_DIGEST: Final = re.compile(r"[0-9a-fA-F]{32}")


class SubmittedIds(msgspec.Struct, frozen=True):
    """What a receipt says of the ids that were submitted: their digest, and their number where it has one.

    It proves that the results' ids are those, and cannot name one that differs.
    """

    digest: str
    requests: int | None = None

    @classmethod
    def of(cls, receipt: Receipt | None, batch_id: str) -> SubmittedIds | None:
        """Read a receipt of this batch; None for None.

        :raises InvalidRequest: it is not a receipt of this batch.
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
        digest = str(fields.get("ids_digest"))
        if not IDS_DIGEST.fullmatch(digest):
            problem = f"the receipt's ids_digest is not 32 hex digits: {digest[:40]!r}"
            raise InvalidRequest(f"{problem} (a template makes text of a receipt, an XComArg does not)")
        requests = fields.get("requests")
        return cls(digest.lower(), requests if isinstance(requests, int) and requests > 0 else None)


class Expectation(msgspec.Struct, frozen=True, kw_only=True):
    """What a batch must hold: lines by result type, and the receipt's ids if there is one.

    `total` is None, and `counts` is empty, if neither the batch nor a receipt counts the requests.
    """

    counts: Mapping[str, int]
    total: int | None
    submitted: SubmittedIds | None = None

    @classmethod
    def of(cls, counts: Mapping[str, int], total: int, submitted: SubmittedIds | None) -> Expectation:
        """From a batch's counts; with the receipt's number where they are all 0."""
        if total > 0:
            return cls(counts=counts, total=total, submitted=submitted)
        return cls(counts={}, total=submitted.requests if submitted else None, submitted=submitted)


def compare(
    expected: Expectation,
    types: Mapping[str, int],
    ids: Collection[str],
    doubled: Collection[str],
    *,
    unreadable: int = 0,
) -> Mismatch | None:
    """Compare ids and types with the expectation.

    :param expected: what the batch must hold.
    :param types: lines by result type.
    :param ids: the distinct ids that were read.
    :param doubled: ids that occurred twice in one attempt.
    :param unreadable: how many lines were torn or not results.
    :return: the mismatch, None if there is none.
    """
    total = len(ids) if expected.total is None else expected.total
    missing, foreign = max(0, total - len(ids)), max(0, len(ids) - total)
    uncounted = expected.total is None and expected.submitted is None
    other_ids = expected.submitted is not None and ids_digest(ids) != expected.submitted.digest
    wrong = {kind: (want, types.get(kind, 0)) for kind, want in expected.counts.items() if types.get(kind, 0) > want}
    if not (missing or foreign or doubled or other_ids or wrong or uncounted):
        return None
    return Mismatch(
        missing=missing,
        foreign=foreign,
        doubled=len(doubled),
        doubled_ids=tuple(sorted(doubled)[:NAMED]),
        other_ids=other_ids and not missing and not foreign,
        unreadable=unreadable,
        wrong_counts=wrong,
        uncounted=uncounted,
    )


def with_names(
    mismatch: Mismatch, ids: Collection[str], submitted_ids: Sequence[str], expected: Expectation
) -> Mismatch | None:
    """Name all ids of a mismatch; None if `submitted_ids` cannot be the ids that were sent.

    A receipt proves that they are. Without one, they must lead to the same numbers of missing and foreign ids as the
    batch's count; if the API counts nothing, they are believed.

    :param mismatch: the mismatch without names.
    :param ids: the ids that were read.
    :param submitted_ids: the ids that were submitted, according to the caller.
    :param expected: what the batch must hold.
    """
    read, submitted = {*ids}, {*submitted_ids}
    missing = [custom_id for custom_id in submitted_ids if custom_id not in read]
    foreign = sorted(read - submitted)
    if expected.submitted is not None:
        are_they = ids_digest(submitted_ids) == expected.submitted.digest
    elif mismatch.uncounted:
        are_they = 0 < len(submitted_ids) == len(submitted)
    else:
        differ_alike = (len(missing), len(foreign)) == (mismatch.missing, mismatch.foreign)
        are_they = len(submitted_ids) == len(submitted) and differ_alike
    if not are_they:
        return None
    return msgspec.structs.replace(
        mismatch,
        missing=len(missing),
        missing_ids=tuple(missing[:NAMED]),
        foreign=len(foreign),
        foreign_ids=tuple(foreign[:NAMED]),
        other_ids=False,
        uncounted=False,
    )
