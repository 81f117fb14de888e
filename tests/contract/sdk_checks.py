"""What the official SDK must be able to do against the emulator: one script, run under more than one version of it.

`python sdk_checks.py` with EMULATOR_URL, EMULATOR_KEY and EMULATOR_CONTROL in the environment runs every check and
prints a JSON object: version of the SDK, and check -> "ok" or a traceback. It imports nothing but the SDK, since it
runs where only that is installed.
"""

from __future__ import annotations

import asyncio
import json
import os
import traceback
import urllib.request
from collections.abc import Callable
from typing import Any, Final

import anthropic

URL: Final = os.environ["EMULATOR_URL"]
KEY: Final = os.environ["EMULATOR_KEY"]
CONTROL: Final = os.environ["EMULATOR_CONTROL"]
CHECKS: Final[list[Callable[[], None]]] = []


def check(function: Callable[[], None]) -> Callable[[], None]:
    CHECKS.append(function)
    return function


def sdk(*, api_key: str = KEY, max_retries: int = 0) -> anthropic.Anthropic:
    return anthropic.Anthropic(api_key=api_key, base_url=URL, max_retries=max_retries)


def control(method: str, path: str, **body: Any) -> Any:
    request = urllib.request.Request(f"{CONTROL}/{path}", json.dumps(body).encode(), method=method)
    with urllib.request.urlopen(request) as response:
        return json.load(response)


def calls(endpoint: str) -> int:
    found: int = control("GET", "counters")["calls"][endpoint]
    return found


def requests(*custom_ids: str, **changes: Any) -> Any:
    params = {"model": "claude-haiku-4-5", "max_tokens": 64, "messages": [{"role": "user", "content": "Hello"}]}
    return [{"custom_id": custom_id, "params": params | changes} for custom_id in custom_ids]


def is_raised(error: type[Exception], call: Callable[[], Any]) -> Any:
    try:
        call()
    except error as raised:
        return raised
    raise AssertionError(f"{error.__name__} was not raised")


@check
def a_batch_is_created_and_retrieved() -> None:
    client = sdk()
    made = client.messages.batches.create(requests=requests("a", "b", "c"))
    assert made.type == "message_batch"
    assert made.processing_status == "in_progress"
    assert made.request_counts.processing == 3
    assert made.results_url is None
    assert (made.expires_at - made.created_at).total_seconds() == 86_400
    assert client.messages.batches.retrieve(made.id) == made


@check
def the_beta_namespace_reaches_the_same_batches() -> None:
    client = sdk()
    made = client.beta.messages.batches.create(requests=requests("a"), betas=["output-300k-2026-03-24"])
    assert client.messages.batches.retrieve(made.id).id == made.id
    assert made.id in [batch.id for batch in client.beta.messages.batches.list()]
    assert client.beta.messages.batches.cancel(made.id).processing_status == "canceling"


@check
def listing_pages_by_itself_in_both_directions() -> None:
    client = sdk()
    oldest_first = [client.messages.batches.create(requests=requests("a")).id for _ in range(25)]
    before = calls("list")
    assert [batch.id for batch in client.messages.batches.list(limit=10)] == oldest_first[::-1]
    assert calls("list") - before == 3
    older = client.messages.batches.list(limit=7, after_id=oldest_first[20])
    assert [batch.id for batch in older] == oldest_first[19::-1]
    newer = [batch.id for batch in client.messages.batches.list(limit=7, before_id=oldest_first[4])]
    assert newer == [
        *oldest_first[11:4:-1],
        *oldest_first[18:11:-1],
        *oldest_first[24:18:-1],
    ]


@check
def results_are_typed_lines_once_the_batch_has_ended() -> None:
    client = sdk()
    asked = [*requests("good"), *requests("bad", messages=[]), *requests("lost", model="claude-does-not-exist-9")]
    batch = client.messages.batches.create(requests=asked)
    early = is_raised(anthropic.AnthropicError, lambda: client.messages.batches.results(batch.id))
    assert "in_progress" in str(early)
    control("POST", "clock/advance", seconds=3600)
    ended = client.messages.batches.retrieve(batch.id)
    assert (ended.processing_status, ended.request_counts.succeeded, ended.request_counts.errored) == ("ended", 1, 2)
    results: dict[str, Any] = {item.custom_id: item.result for item in client.messages.batches.results(batch.id)}
    message = results["good"].message
    assert message.content[0].text == "Echo: Hello"
    assert (message.stop_reason, message.usage.service_tier) == ("end_turn", "batch")
    assert results["bad"].error.error.type == "invalid_request_error"
    assert results["bad"].error.error.message == "messages: at least one message is required"
    assert results["lost"].error.error.type == "not_found_error"


@check
def forced_tools_and_big_batches_come_back_whole() -> None:
    client = sdk()
    tools = [{"name": "label", "input_schema": {"type": "object", "properties": {"label": {"enum": ["x"]}}}}]
    choice = {"type": "tool", "name": "label"}
    asked = requests(*(f"row-{n}" for n in range(1000)), tools=tools, tool_choice=choice)
    batch = client.messages.batches.create(requests=asked)
    control("POST", f"batches/{batch.id}/end")
    seen = set()
    for item in client.messages.batches.results(batch.id):
        result: Any = item.result
        assert result.message.content[0].input == {"label": "x"}
        seen.add(item.custom_id)
    assert len(seen) == 1000


@check
def a_batch_is_canceled_and_deleted() -> None:
    client = sdk()
    batch = client.messages.batches.create(requests=requests("a", "b"))
    canceling = client.messages.batches.cancel(batch.id)
    assert canceling.processing_status == "canceling"
    assert canceling.cancel_initiated_at is not None
    refused = is_raised(anthropic.BadRequestError, lambda: client.messages.batches.delete(batch.id))
    assert "has not finished canceling" in str(refused)
    control("POST", "clock/advance", seconds=1)
    assert client.messages.batches.retrieve(batch.id).request_counts.canceled == 2
    assert {item.result.type for item in client.messages.batches.results(batch.id)} == {"canceled"}
    deleted = client.messages.batches.delete(batch.id)
    assert (deleted.id, deleted.type) == (batch.id, "message_batch_deleted")
    is_raised(anthropic.NotFoundError, lambda: client.messages.batches.retrieve(batch.id))


@check
def errors_are_of_their_type_and_carry_text_and_request_id() -> None:
    client = sdk(max_retries=2)
    before = calls("create")
    duplicate = is_raised(
        anthropic.BadRequestError, lambda: client.messages.batches.create(requests=requests("dup", "dup"))
    )
    assert "Duplicate custom_id found: dup" in str(duplicate)
    assert duplicate.request_id.startswith("req_011C")
    assert duplicate.body["request_id"] == duplicate.request_id
    assert calls("create") - before == 1
    missing = is_raised(anthropic.NotFoundError, lambda: client.messages.batches.retrieve("msgbatch_x"))
    assert "Message Batch msgbatch_x not found." in str(missing)
    is_raised(anthropic.AuthenticationError, lambda: sdk(api_key="sk-ant-wrong").messages.batches.list())
    for status, error in (
        (403, anthropic.PermissionDeniedError),
        (409, anthropic.ConflictError),
        (500, anthropic.InternalServerError),
    ):
        control("POST", "faults", endpoint="list", action="status", status=status)
        assert is_raised(error, lambda: sdk().messages.batches.list()).status_code == status
    control("POST", "faults", endpoint="create", action="status", status=413)
    too_large = is_raised(anthropic.APIStatusError, lambda: client.messages.batches.create(requests=requests("a")))
    assert too_large.status_code == 413


@check
def a_rate_limit_is_waited_out_or_raised() -> None:
    fault = {"endpoint": "get", "action": "status", "status": 429, "headers": {"retry-after-ms": "1"}}
    client = sdk(max_retries=2)
    batch = client.messages.batches.create(requests=requests("a"))
    patient = control("POST", "faults", **fault, times=2)
    assert client.messages.batches.retrieve(batch.id).id == batch.id
    assert control("GET", f"faults/{patient['id']}")["struck"] == 2
    control("POST", "faults", **fault, times=3)
    limited = is_raised(anthropic.RateLimitError, lambda: client.messages.batches.retrieve(batch.id))
    assert limited.body["error"]["type"] == "rate_limit_error"


@check
def a_create_whose_answer_is_lost_is_sent_twice() -> None:
    client = sdk(max_retries=1)
    control("POST", "faults", endpoint="create", action="drop_after_accept")
    made = client.messages.batches.create(requests=requests("paid-twice"))
    batches = [batch.id for batch in client.messages.batches.list()]
    assert len(batches) == 2
    assert made.id == batches[0]


@check
def results_that_are_cut_are_not_taken_for_whole() -> None:
    client = sdk()
    batch = client.messages.batches.create(requests=requests(*(f"row-{n}" for n in range(50))))
    control("POST", f"batches/{batch.id}/end")
    control("POST", "faults", endpoint="results", action="cut", after_bytes=3000)
    is_raised(Exception, lambda: list(client.messages.batches.results(batch.id)))
    assert len(list(client.messages.batches.results(batch.id))) == 50


@check
def models_are_listed() -> None:
    ids = [model.id for model in sdk().models.list(limit=5)]
    assert "claude-haiku-4-5-20251001" in ids
    assert len(ids) == len(set(ids))


@check
def one_request_is_tried_first() -> None:
    client: Any = sdk()
    asked = requests("a")[0]["params"]
    message = client.messages.create(**asked)
    assert (message.content[0].text, message.usage.service_tier) == ("Echo: Hello", "standard")
    with client.messages.stream(**asked) as stream:
        assert "".join(stream.text_stream) == "Echo: Hello"
        assert stream.get_final_message().stop_reason == "end_turn"
    counted = client.messages.count_tokens(model=asked["model"], messages=asked["messages"])
    assert counted.input_tokens > 0
    assert client.models.retrieve("claude-haiku-4-5").id == "claude-haiku-4-5-20251001"
    is_raised(anthropic.NotFoundError, lambda: client.models.retrieve("claude-none"))


@check
def the_async_client_works_too() -> None:
    async def run() -> int:
        async with anthropic.AsyncAnthropic(api_key=KEY, base_url=URL) as client:
            batch = await client.messages.batches.create(requests=requests("a", "b"))
            control("POST", f"batches/{batch.id}/end")
            return len([item async for item in await client.messages.batches.results(batch.id)])

    assert asyncio.run(run()) == 2


def main() -> None:
    outcome = {}
    for function in CHECKS:
        control("POST", "reset")
        try:
            function()
        except Exception:  # noqa: BLE001 - reported to the caller
            outcome[function.__name__] = traceback.format_exc()
        else:
            outcome[function.__name__] = "ok"
    print(json.dumps({"version": anthropic.__version__, "checks": outcome}))  # noqa: T201


if __name__ == "__main__":
    main()
