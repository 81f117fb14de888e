"""The hook: clients from an Airflow connection, and the Test button of its form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from airflow.sdk import BaseHook

from airflow_batches.provider import CONNECTION_TYPE, DEFAULT_CONNECTION, INTEGRATION

if TYPE_CHECKING:
    from airflow_batches.api import BatchesClient

TEST_TIMEOUT: Final = 30.0
"""Seconds for each wait of the Test button. Chosen: a person waits for the form, and a thread of Airflow's API server
is blocked."""

ANOTHER_SERVER: Final = "Another server answered, such as a proxy with its login page: check the base URL and the proxy"


class MessageBatchesHook(BaseHook):
    """Makes clients from an Airflow connection.

    :param conn_id: the Airflow connection; its password is the API key.

    Example::

        with MessageBatchesHook("anthropic_default").get_conn() as client:
            batch = client.get("msgbatch_01…")
    """

    conn_name_attr = "conn_id"
    default_conn_name = DEFAULT_CONNECTION
    conn_type = CONNECTION_TYPE
    hook_name = INTEGRATION

    def __init__(self, conn_id: str = DEFAULT_CONNECTION, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form's further fields for Airflow 3.1 (`form`)."""
        from airflow_batches.hooks.form import fields

        return fields()

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return what the form of Airflow 3.1 calls and hides (`form`)."""
        from airflow_batches.hooks.form import behaviour

        return behaviour()

    def get_conn(self) -> BatchesClient:
        """Make a new client. Close it, or use it in a `with`.

        :raises InvalidRequest: when the connection is wrong; the message names the field.
        """
        from airflow_batches.hooks.connection import client_for

        return client_for(self.get_connection(self.conn_id))

    def test_connection(self, timeout_s: float = TEST_TIMEOUT) -> tuple[bool, str]:
        """Test the connection for the form's Test button, by listing one batch, which is free.

        :param timeout_s: seconds for each wait for bytes.
        :return: whether it works, and the text to show.
        """
        from airflow_batches.api import BatchesError, DecodeError
        from airflow_batches.api.retry import ONCE
        from airflow_batches.hooks.connection import client_for

        try:
            with client_for(self.get_connection(self.conn_id), retry=ONCE, longest_read=timeout_s) as client:
                client.check()
        except BatchesError as error:
            hint = f". {ANOTHER_SERVER}" if isinstance(error, DecodeError) else ""
            # The form tests a connection under a random id, which says nothing to the reader.
            return False, str(error).replace(f"Connection {self.conn_id!r}", "The connection", 1) + hint
        return True, f"{client.base_url} accepts the key."
