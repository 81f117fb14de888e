"""Requests as hypothesis makes them up: those that the API would answer."""

from __future__ import annotations

import string
from typing import Any

from hypothesis import strategies as st

_ids = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=64)
_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40).filter(str.strip)


def _request(custom_id: str, model: str | None, text: str) -> dict[str, Any]:
    params = {"max_tokens": 5, "messages": [{"role": "user", "content": text}]}
    return {"custom_id": custom_id, "params": params if model is None else {"model": model, **params}}


models = st.sampled_from([None, "claude-haiku-4-5", "claude-sonnet-5"])
requests = st.lists(_ids, min_size=1, max_size=30, unique=True).flatmap(
    lambda ids: st.tuples(*[st.builds(_request, st.just(custom_id), models, _text) for custom_id in ids]).map(list)
)
"""One or more requests with ids of their own, some without a model, their texts of any characters."""

blank = st.sampled_from(["", "\n", " \n", "\r\n"])
ends = st.sampled_from(["\n", "\r\n"])


@st.composite
def jsonl(draw: st.DrawFn) -> tuple[list[dict[str, Any]], bytes]:
    """Requests, and JSONL of them that some editor has been at."""
    import json

    drawn = draw(requests)
    ascii_only = draw(st.booleans())
    text = "".join(
        draw(blank) + json.dumps(request, ensure_ascii=ascii_only) + draw(ends) + draw(blank) for request in drawn
    )
    return drawn, (text.rstrip("\r\n") if draw(st.booleans()) else text).encode()
