"""What pydantic-ai must be able to do against the emulator; the form of `sdk_checks.py`, but imports pydantic-ai."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import os
import traceback
import urllib.request
from collections.abc import Callable, Coroutine
from typing import Any, Final

from pydantic_ai.direct import model_request
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.messages import ModelRequest
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.batch import BatchRequest
from pydantic_ai.providers.anthropic import AnthropicProvider

CONTROL: Final = os.environ["EMULATOR_CONTROL"]


def model(name: str = "claude-haiku-4-5") -> AnthropicModel:
    provider = AnthropicProvider(api_key=os.environ["EMULATOR_KEY"], base_url=os.environ["EMULATOR_URL"])
    return AnthropicModel(name, provider=provider)


def control(method: str, path: str, **body: Any) -> Any:
    request = urllib.request.Request(f"{CONTROL}/{path}", json.dumps(body).encode(), method=method)
    with urllib.request.urlopen(request) as response:
        return json.load(response)


def requests(*custom_ids: str) -> list[BatchRequest]:
    messages = [ModelRequest.user_text_prompt("Hello")]
    return [BatchRequest(custom_id=custom_id, messages=messages) for custom_id in custom_ids]


def raised(call: Callable[[], Any]) -> ModelHTTPError:
    try:
        call()
    except ModelHTTPError as error:
        return error
    raise AssertionError("no error was raised")


async def created(own: AnthropicModel, asked: list[BatchRequest]) -> Any:
    return await own.batch_create([await own.batch_encode(request) for request in asked])


async def a_batch_is_created_awaited_and_read() -> None:
    own, asked = model(), requests("a", "b")
    batch = await created(own, asked)
    assert (batch.status, batch.request_count) == ("in_progress", 2), batch
    control("POST", "clock/advance", seconds=3600)
    batch = await own.batch_status(batch)
    assert batch.status == "ended", batch
    results = {result.custom_id: result for result in await own.batch_results(batch)}
    for request in asked:
        response = own.batch_decode(results[request.custom_id], request)
        assert [part.content for part in response.parts] == ["Echo: Hello"], response
        assert response.usage.output_tokens > 0


async def a_batch_is_canceled() -> None:
    own, asked = model(), requests("a")
    batch = await own.batch_cancel(await created(own, asked))
    assert batch.status == "canceling", batch
    control("POST", "clock/advance", seconds=60)
    results = await own.batch_results(await own.batch_status(batch))
    assert [result.status for result in results] == ["canceled"], results


async def an_errored_line_is_the_error_of_the_api() -> None:
    own, asked = model("claude-none"), requests("a")
    batch = await created(own, asked)
    control("POST", "clock/advance", seconds=3600)
    (result,) = await own.batch_results(await own.batch_status(batch))
    error = raised(lambda: own.batch_decode(result, asked[0]))
    assert error.status_code == 404, error
    assert "model: claude-none" in str(error), error


async def one_request_is_tried_first() -> None:
    response = await model_request(model(), [ModelRequest.user_text_prompt("Hello")])
    assert [part.content for part in response.parts] == ["Echo: Hello"], response


CHECKS: Final[list[Callable[[], Coroutine[Any, Any, None]]]] = [
    a_batch_is_created_awaited_and_read,
    a_batch_is_canceled,
    an_errored_line_is_the_error_of_the_api,
    one_request_is_tried_first,
]


def main() -> None:
    control("PATCH", "settings", processing_time=3600)
    outcome = {}
    for function in CHECKS:
        try:
            asyncio.run(function())
        except Exception:  # noqa: BLE001 - reported to the caller
            outcome[function.__name__] = traceback.format_exc()
        else:
            outcome[function.__name__] = "ok"
    print(json.dumps({"version": importlib.metadata.version("pydantic-ai-slim"), "checks": outcome}))  # noqa: T201


if __name__ == "__main__":
    main()
