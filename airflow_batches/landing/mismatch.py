"""How the results that were read differ from the batch, in numbers and names. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

NAMED: Final = 20
"""Ids of each kind that a mismatch names. Chosen: enough to see a pattern, few enough for a line of a log."""
ID_CHARS: Final = 64
"""Characters of a custom_id: the API's limit (API reference, "Create a Message Batch")."""
UNCOUNTED: Final = (
    "the batch has ended, and the API counts 0 requests in it, so nothing proves that these are all of its results "
    "(a later try may see the counts; a receipt proves the ids without them)"
)


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
        """Whether the submitted ids could name ids."""
        return bool(self.missing or self.foreign or self.other_ids or self.uncounted)

    def sentences(self) -> list[str]:
        """Return the differences as texts for people."""
        parts = [
            self.uncounted and UNCOUNTED,
            self.missing and f"{self.missing:,} missing{_named(self.missing_ids, self.missing)}",
            self.foreign and f"{self.foreign:,} foreign{_named(self.foreign_ids, self.foreign)}",
            self.doubled and f"{self.doubled:,} doubled{_named(self.doubled_ids, self.doubled)}",
            self.other_ids and "the custom_ids are not those that were sent",
            self.unreadable and f"{self.unreadable:,} unreadable",
            *(f"{got:,} {kind} instead of {want:,}" for kind, (want, got) in sorted(self.wrong_counts.items())),
        ]
        return [sentence for sentence in parts if sentence]


def _named(ids: Sequence[str], count: int) -> str:
    more = ", …" if len(ids) < count else ""
    return f" ({', '.join(map(_printable, ids))}{more})" if ids else ""


def _printable(custom_id: str) -> str:
    """Return an id in ASCII and cut to the API's limit; a valid one is unchanged."""
    return ascii(custom_id)[1:-1][:ID_CHARS]
