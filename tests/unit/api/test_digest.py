"""Sixteen bytes that stand for the ids of a batch."""

from __future__ import annotations

import random
from hashlib import blake2b

from hypothesis import given
from hypothesis import strategies as st

from airflow_batches.api.digest import AT_ONCE, IdsDigest, ids_digest

texts = st.text(min_size=1, max_size=70)


def test_the_digest_is_what_it_was_in_earlier_versions() -> None:
    assert ids_digest([]) == "0" * 32
    assert ids_digest(["alpha", "beta", "gamma"]) == "0fbd9995fd1d841b4c300986024264e4"


@given(st.lists(texts), st.randoms(use_true_random=False))
def test_order_and_portions_do_not_matter(ids: list[str], rng: random.Random) -> None:
    shuffled = [*ids]
    rng.shuffle(shuffled)
    cut = rng.randint(0, len(ids))
    digest = IdsDigest()
    digest.update(shuffled[:cut])
    digest.update(shuffled[cut:])
    assert digest.hexdigest() == ids_digest(ids)


def test_many_ids_at_once_count_as_each_by_itself() -> None:
    ids = [f"id-{number}" for number in range(2 * AT_ONCE + 1)]
    together, singly = IdsDigest(), IdsDigest()
    together.update(ids)
    for custom_id in ids:
        singly.update([custom_id])
    assert together.hexdigest() == singly.hexdigest()


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_an_id_counts_as_its_utf8_bytes(custom_id: str) -> None:
    assert ids_digest([custom_id]) == blake2b(custom_id.encode(), digest_size=16).hexdigest()


@given(st.lists(texts, min_size=1, unique=True), texts)
def test_a_missing_a_doubled_and_another_id_each_change_it(ids: list[str], other: str) -> None:
    digests = {ids_digest(ids), ids_digest(ids[1:]), ids_digest([*ids, ids[0]]), ids_digest([*ids[1:], other])}
    assert len(digests) == (3 if other == ids[0] else 4)
