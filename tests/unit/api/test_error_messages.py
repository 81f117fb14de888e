"""The commonest error messages of a batch."""

from __future__ import annotations

from airflow_batches.api.error_messages import MAX_CHARS, MAX_DISTINCT, ErrorMessage, ErrorMessages


def test_the_three_commonest_messages_are_reported_with_their_counts() -> None:
    messages = ErrorMessages()
    messages.add(
        [("api_error", "a")] * 2 + [("api_error", "b")] * 3 + [("api_error", "c")] + [("timeout_error", "a")] * 4
    )

    assert [str(message) for message in messages.most_common()] == [
        "4 x timeout_error: a",
        "3 x api_error: b",
        "2 x api_error: a",
    ]


def test_a_long_message_is_cut() -> None:
    messages = ErrorMessages()
    messages.add([("api_error", "x" * (MAX_CHARS + 1))])

    assert messages.most_common() == (ErrorMessage("api_error", "x" * MAX_CHARS, 1),)


def test_messages_that_all_differ_do_not_fill_the_memory() -> None:
    messages = ErrorMessages()
    messages.add(("api_error", str(number)) for number in range(MAX_DISTINCT + 1))
    messages.add([("api_error", "0"), ("api_error", str(MAX_DISTINCT))])

    assert messages.most_common()[0] == ErrorMessage("api_error", "0", 2)
    assert all(message.message != str(MAX_DISTINCT) for message in messages.most_common())
