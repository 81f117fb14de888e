"""Cache tokens: who writes a prefix, who reads it, and for how long."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_batches.emulator import Rule
from airflow_batches.emulator.cache import smallest_prefix
from tests.unit.emulator.client import Client, line
from tests.unit.emulator.conftest import Start

LONG = "A rule of the house, which every answer has to keep. " * 100
MODEL = "claude-sonnet-4-6"


def block(text: str, **control: str) -> dict[str, Any]:
    return {"type": "text", "text": text, "cache_control": {"type": "ephemeral", **control}}


def asked(custom_id: str, *system: dict[str, Any], **more: Any) -> dict[str, Any]:
    return line(custom_id, **({"model": MODEL, "system": list(system)} | more))


def usages(client: Client, requests: list[dict[str, Any]]) -> list[tuple[int, int]]:
    """Tokens written and read, in the order submitted."""
    found = client.outcome(requests)
    return [cached(found[request["custom_id"]]) for request in requests]


def cached(result: dict[str, Any]) -> tuple[int, int]:
    usage = result["message"]["usage"]
    assert usage["cache_creation_input_tokens"] == sum(usage["cache_creation"].values())
    return usage["cache_creation_input_tokens"], usage["cache_read_input_tokens"]


def test_the_first_request_writes_and_later_ones_read(start_kept: Start) -> None:
    _, client = start_kept()
    first, *later = usages(client, [asked(f"row-{n}", block(LONG)) for n in range(4)])
    size = first[0]
    assert size > 1_000
    assert [first, *later] == [(size, 0), (0, size), (0, size), (0, size)]
    assert usages(client, [asked("next-batch", block(LONG))]) == [(0, size)]


def test_cached_tokens_are_no_input_tokens(start: Start) -> None:
    _, client = start()
    plain = client.outcome([asked("row", {"type": "text", "text": LONG})])["row"]["message"]["usage"]
    found = client.outcome([asked("row", block(LONG))])["row"]["message"]["usage"]
    total = found["input_tokens"] + found["cache_creation_input_tokens"]
    assert total == pytest.approx(plain["input_tokens"], abs=2)
    assert 0 < found["input_tokens"] < 20


@pytest.mark.parametrize(("ttl", "lives", "member"), [("5m", 300, "5m"), ("1h", 3600, "1h")])
def test_a_prefix_lives_from_its_last_use(ttl: str, lives: int, member: str, start: Start) -> None:
    emulator, client = start()
    request = asked("row", block(LONG, ttl=ttl))
    written = client.outcome([request])["row"]["message"]["usage"]["cache_creation"]
    assert [name for name, tokens in written.items() if tokens] == [f"ephemeral_{member}_input_tokens"]
    for _ in range(2):
        emulator.clock.advance(lives - 10)
        assert usages(client, [request])[0][0] == 0
    emulator.clock.advance(lives + 10)
    assert usages(client, [request])[0][1] == 0


def test_a_longer_prefix_reads_what_is_cached_of_it_and_writes_the_rest(start: Start) -> None:
    _, client = start()
    (size, _), (more, read) = usages(client, [asked("a", block(LONG)), asked("b", block(LONG), block(LONG + "B"))])
    assert read == size
    assert more == pytest.approx(size, abs=2)


def test_breakpoints_in_messages_and_on_the_whole_request_count(start: Start) -> None:
    _, client = start()
    document = [{"role": "user", "content": [block(LONG), {"type": "text", "text": "What does it say?"}]}]
    first, second = usages(client, [line(f"m-{n}", model=MODEL, messages=document) for n in range(2)])
    assert first[0] == second[1] > 1_000
    plain = [{"role": "user", "content": LONG + "Other."}]
    control = {"cache_control": {"type": "ephemeral"}}
    first, second = usages(client, [line(f"w-{n}", model=MODEL, messages=plain, **control) for n in range(2)])
    assert first[0] == second[1] > 1_000


def test_another_model_workspace_or_text_reads_nothing(start: Start) -> None:
    emulator, client = start(workspaces={"sk-other": "wrkspc_other"})
    usages(client, [asked("a", block(LONG))])
    assert usages(client, [asked("b", block(LONG), model="claude-sonnet-5")])[0][1] == 0
    assert usages(client, [asked("c", block("Now: " + LONG))])[0][1] == 0
    other = Client(emulator, **{"x-api-key": "sk-other"})
    assert usages(other, [asked("d", block(LONG))])[0][1] == 0
    other.close()


def test_a_short_prefix_is_not_cached(start: Start) -> None:
    _, client = start()
    assert usages(client, [asked(f"row-{n}", block("Short.")) for n in range(2)]) == [(0, 0), (0, 0)]
    assert usages(client, [asked(f"row-{n}", block(LONG), model="claude-haiku-4-5") for n in range(2)]) == [(0, 0)] * 2


@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        ("claude-haiku-4-5-20251001", 4096),
        ("claude-sonnet-4-5-20250929", 1024),
        ("claude-sonnet-5", 1024),
        ("claude-opus-4-6", 4096),
        ("claude-opus-4-7", 2048),
        ("claude-opus-4-8", 1024),
        ("claude-opus-5", 512),
        ("claude-sonnet-5-5", 512),
    ],
)
def test_how_long_a_prefix_must_be_depends_on_the_model(model: str, tokens: int) -> None:
    assert smallest_prefix(model) == tokens


def test_lines_that_do_not_run_cache_nothing(start: Start) -> None:
    _, client = start(rules=[Rule(custom_id="a", outcome="errored"), Rule(custom_id="b", usage={"output_tokens": 1})])
    found = client.outcome([asked("a", block(LONG)), asked("b", block(LONG)), asked("c", block(LONG))])
    assert cached(found["b"])[0] == cached(found["c"])[1] > 1_000


def test_a_reset_empties_the_cache(start: Start) -> None:
    emulator, client = start()
    usages(client, [asked("a", block(LONG))])
    emulator.reset()
    assert usages(client, [asked("a", block(LONG))])[0][1] == 0
