"""Whether what came is what the batch holds. Pure: tally, ids and expectations come in, a mismatch or None goes out.

| seen                                                        | called                                      |
|-------------------------------------------------------------|---------------------------------------------|
| fewer ids than the batch has requests                       | missing                                     |
| more ids than the batch has requests                        | foreign                                     |
| an id twice in one reading                                  | doubled; the line that came first is kept   |
| the ids' digest is not the receipt's                        | other ids than those that were sent         |
| more lines of a type than the batch counts                  | a wrong count                               |

Lines of a type unknown here stand in for known ones: the batch's counts have no place of their own for them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import msgspec

from airflow_batches.api.digest import IdsDigest, ids_digest

NAMED: Final = 20
"""How many ids a mismatch names; the counts tell the rest."""


class Expectation(msgspec.Struct, frozen=True, kw_only=True):
    """What a batch must give: lines by result type, and the digest of its ids where a receipt tells it."""

    counts: Mapping[str, int]
    total: int
    ids_digest: str | None = None


class Mismatch(msgspec.Struct, frozen=True, kw_only=True):
    """How far what came is from what the batch holds; numbers of lines, and up to 20 ids of each kind."""

    missing: int = 0
    foreign: int = 0
    foreign_ids: tuple[str, ...] = ()
    doubled: int = 0
    doubled_ids: tuple[str, ...] = ()
    other_ids: bool = False
    unreadable: int = 0
    """Lines that are torn or no results, where something else is wrong too."""
    wrong_counts: Mapping[str, tuple[int, int]] = {}
    """Result type -> (expected, received)."""

    def sentences(self) -> list[str]:
        """For people."""
        said = [
            self.missing and f"{self.missing:,} missing",
            self.foreign and f"{self.foreign:,} foreign{_named(self.foreign_ids)}",
            self.doubled and f"{self.doubled:,} doubled{_named(self.doubled_ids)}",
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
    """What is wrong with these distinct ids and lines by type; None when nothing is."""
    missing, foreign = max(0, expected.total - len(ids)), max(0, len(ids) - expected.total)
    surplus = _surplus(expected.ids_digest, ids)
    wrong = {kind: (want, types.get(kind, 0)) for kind, want in expected.counts.items() if types.get(kind, 0) > want}
    if not (missing or foreign or doubled or surplus or wrong):
        return None
    return Mismatch(
        missing=missing,
        foreign=foreign,
        foreign_ids=_of_digest(surplus, ids) if foreign == 1 and surplus else (),
        doubled=len(doubled),
        doubled_ids=tuple(sorted(doubled)[:NAMED]),
        other_ids=surplus is not None and not missing and not foreign,
        unreadable=unreadable,
        wrong_counts=wrong,
    )


def _surplus(expected: str | None, ids: Collection[str]) -> str | None:
    """By how much the ids' digest differs from the expected one; None where it does not, or none is expected."""
    if expected is None:
        return None
    digest = IdsDigest()
    digest.update(ids)
    return None if digest.hexdigest() == expected else digest.surplus(expected)


def _of_digest(surplus: str, ids: Collection[str]) -> tuple[str, ...]:
    """Sixteen bytes name a single stranger: it is the id whose own digest is what the sum has too much."""
    return tuple(custom_id for custom_id in ids if ids_digest([custom_id]) == surplus)


def _named(ids: Sequence[str]) -> str:
    return f" ({', '.join(ids)})" if ids else ""
