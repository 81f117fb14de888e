"""Token counts: which members are sent, and what comes back."""

from __future__ import annotations

import pytest

from airflow_batches.api import ApiError, BatchesClient, InvalidRequest
from airflow_batches.emulator import Emulator
from tests.samples import some_requests


@pytest.fixture
def client(emulator: Emulator) -> BatchesClient:
    return BatchesClient(emulator.api_key, base_url=emulator.url)


def test_the_input_tokens_of_a_request_are_counted(client: BatchesClient) -> None:
    [short] = some_requests(1)
    [long] = some_requests(1, messages=[{"role": "user", "content": "Hello " * 200}])
    assert 0 < client.count_tokens(short["params"]) < client.count_tokens(long["params"])


def test_members_that_concern_the_answer_are_left_out(client: BatchesClient) -> None:
    [plain], [more] = some_requests(1), some_requests(1, stop_sequences=["x"], metadata={"user_id": "u"})
    assert client.count_tokens(more["params"]) == client.count_tokens(plain["params"])


def test_a_refusal_is_raised(client: BatchesClient) -> None:
    with pytest.raises(ApiError) as refused:
        client.count_tokens({"model": "claude-haiku-4-5", "messages": []})
    assert refused.value.status == 400


def test_params_without_a_json_form_are_refused(client: BatchesClient) -> None:
    with pytest.raises(InvalidRequest):
        client.count_tokens({"model": "claude-haiku-4-5", "messages": object()})
