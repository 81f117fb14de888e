"""Compare the results that were read with the batch. Pure.

Counts and ids come in, a mismatch or None goes out.

| seen                                                        | called                                      |
|-------------------------------------------------------------|---------------------------------------------|
| fewer ids than the batch has requests                       | missing                                     |
| more ids than the batch has requests                        | foreign                                     |
| an id twice in one reading                                  | doubled; the line that came first is kept   |
| the ids' digest is not the receipt's                        | other ids than those that were sent         |
| more lines of a type than the batch counts                  | a wrong count                               |
| the batch counts no request at all, and there is no receipt | uncounted, until the ids that were sent     |
|                                                             | are compared                                |

Missing and foreign ids are named, up to a limit, only where the ids that were submitted are given: counts and a digest
name none.

A batch holds at least one request, so counts of 0 mean that the API has not counted; they prove nothing. Then the
receipt's number of requests is used, or its digest, or the ids that were sent.

Lines of an unknown type count as any known type: the batch's counts have no field for them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import msgspec

from airflow_batches.api.digest import ids_digest
from airflow_batches.landing.sent import SubmittedIds

NAMED: Final = 20
"""Ids of each kind that a mismatch names. Chosen: enough to see a pattern, few enough for a line of a log."""
LONGEST: Final = 64
"""Characters of a custom_id: the API's limit (API reference, "Create a Message Batch")."""
UNCOUNTED: Final = (
    "the batch has ended, and the API counts 0 requests in it, so nothing proves that these are all of its results "
    "(a later try may see the counts; a receipt proves the ids without them)"
)


class Expectation(msgspec.Struct, frozen=True, kw_only=True):
    """What a batch must hold: lines by result type, and the receipt's ids if there is one.

    `total` is None, and `counts` is empty, if neither the batch nor a receipt counts the requests.
    """

    counts: Mapping[str, int]
    total: int | None
    sent: SubmittedIds | None = None

    @classmethod
    def of(cls, counts: Mapping[str, int], total: int, sent: SubmittedIds | None) -> Expectation:
        """From a batch's counts; the receipt's number stands in where they are all 0."""
        if total > 0:
            return cls(counts=counts, total=total, sent=sent)
        return cls(counts={}, total=sent.requests if sent else None, sent=sent)


class Mismatch(msgspec.Struct, frozen=True, kw_only=True):
    """How the results that were read differ from the batch.

    It has numbers of lines, and up to `NAMED` ids of each kind.
    """

    missing: int = 0
    missing_ids: tuple[str, ...] = ()
    foreign: int = 0
    foreign_ids: tuple[str, ...] = ()
    doubled: int = 0
    doubled_ids: tuple[str, ...] = ()
    other_ids: bool = False
    unreadable: int = 0
    """Lines that are torn or not results; they are not a mismatch by themselves."""
    wrong_counts: Mapping[str, tuple[int, int]] = {}
    """Result type -> (expected, received)."""
    uncounted: bool = False
    """The batch's counts are all 0, so nothing proves that these are all its results."""

    @property
    def is_of_ids(self) -> bool:
        """Whether the ids that were sent would tell more."""
        return bool(self.missing or self.foreign or self.other_ids or self.uncounted)

    def sentences(self) -> list[str]:
        """Return the differences as texts for people."""
        said = [
            self.uncounted and UNCOUNTED,
            self.missing and f"{self.missing:,} missing{_named(self.missing_ids, self.missing)}",
            self.foreign and f"{self.foreign:,} foreign{_named(self.foreign_ids, self.foreign)}",
            self.doubled and f"{self.doubled:,} doubled{_named(self.doubled_ids, self.doubled)}",
            self.other_ids and "the custom_ids are not those that were sent",
            self.unreadable and f"{self.unreadable:,} unreadable",
            *(f"{got:,} {kind} instead of {want:,}" for kind, (want, got) in sorted(self.wrong_counts.items())),
        ]
        return [sentence for sentence in said if sentence]


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
    :param doubled: ids that occurred twice in one reading.
    :param unreadable: how many lines were torn or not results.
    :return: the mismatch, None if there is none.
    """
    total = len(ids) if expected.total is None else expected.total
    missing, foreign = max(0, total - len(ids)), max(0, len(ids) - total)
    uncounted = expected.total is None and expected.sent is None
    other_ids = expected.sent is not None and ids_digest(ids) != expected.sent.digest
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
    mismatch: Mismatch, came: Collection[str], submitted_ids: Sequence[str], expected: Expectation
) -> Mismatch | None:
    """Name all ids of a mismatch; None if `submitted_ids` cannot be the ids that were sent.

    A receipt proves that they are. Without one, they must lead to the same numbers of missing and foreign ids as the
    batch's count; if the API counts nothing, they are believed.

    :param mismatch: the mismatch without names.
    :param came: the ids that were read.
    :param submitted_ids: the ids that were submitted, according to the caller.
    :param expected: what the batch must hold.
    """
    here, sent = {*came}, {*submitted_ids}
    missing = [custom_id for custom_id in submitted_ids if custom_id not in here]
    foreign = sorted(here - sent)
    if expected.sent is not None:
        are_they = ids_digest(submitted_ids) == expected.sent.digest
    elif mismatch.uncounted:
        are_they = 0 < len(submitted_ids) == len(sent)
    else:
        differ_alike = (len(missing), len(foreign)) == (mismatch.missing, mismatch.foreign)
        are_they = len(submitted_ids) == len(sent) and differ_alike
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


def _named(ids: Sequence[str], count: int) -> str:
    more = ", …" if len(ids) < count else ""
    return f" ({', '.join(map(_shown, ids))}{more})" if ids else ""


def _shown(custom_id: str) -> str:
    """Return an id in ASCII and cut to the API's limit; a valid one is unchanged."""
    return ascii(custom_id)[1:-1][:LONGEST]
