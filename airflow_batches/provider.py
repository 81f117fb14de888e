"""The provider's metadata.

Airflow reads it before it imports any other module of this package.
"""

from __future__ import annotations

from typing import Any

from airflow_batches import __version__
from airflow_batches.api.defaults import BASE_URL, NEWEST, READ_TIMEOUT, STRICT_SINCE, VERSIONS

PACKAGE = "airflow-batches"
INTEGRATION = "Anthropic Message Batches"
CONNECTION_TYPE = "anthropicbatches"
"""One word: with an underscore, Airflow logs an RFC 3986 warning whenever it looks up a connection."""
DEFAULT_CONNECTION = "anthropic_default"
"""The connection of everything that is given none. Airflow's official Anthropic provider has the same default."""


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata in the format of Airflow's provider schema."""
    return {
        "package-name": PACKAGE,
        "name": INTEGRATION,
        "description": "Large Claude jobs through Anthropic's Message Batches API.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": INTEGRATION,
                "external-doc-url": "https://platform.claude.com/docs/en/build-with-claude/batch-processing",
                "tags": ["ai"],
            }
        ],
        "hooks": _modules("airflow_batches.hooks.message_batches"),
        "operators": _modules(
            "airflow_batches.operators.cancel",
            "airflow_batches.operators.delete",
            "airflow_batches.operators.job",
            "airflow_batches.operators.plan",
            "airflow_batches.operators.results",
            "airflow_batches.operators.submit",
        ),
        "sensors": _modules("airflow_batches.sensors.message_batch"),
        "triggers": _modules(
            "airflow_batches.triggers.batch_ended",
            "airflow_batches.triggers.message_batch",
            "airflow_batches.triggers.message_batches",
        ),
        "connection-types": [
            {
                "connection-type": CONNECTION_TYPE,
                "hook-class-name": "airflow_batches.hooks.message_batches.MessageBatchesHook",
                "hook-name": INTEGRATION,
                "conn-fields": _connection_fields(),
                "ui-field-behaviour": {
                    "hidden-fields": ["login", "schema"],
                    "relabeling": {"password": "API key", "host": "Base URL"},
                    "placeholders": {"host": BASE_URL, "password": "sk-ant-…", "port": "443"},
                },
            }
        ],
        "task-decorators": [
            {
                "name": "message_batch",
                "class-name": "airflow_batches.decorators.message_batch.message_batch_task",
            },
            {
                "name": "message_batch_job",
                "class-name": "airflow_batches.decorators.message_batch_job.message_batch_job_task",
            },
        ],
        "extra-links": [
            "airflow_batches.operators.links.MessageBatchLink",
            "airflow_batches.operators.links.MessageBatchesOfRunLink",
            "airflow_batches.operators.links.MessageBatchesPageLink",
        ],
    }


def _modules(*names: str) -> list[dict[str, Any]]:
    return [{"integration-name": INTEGRATION, "python-modules": list(names)}]


def _connection_fields() -> dict[str, Any]:
    return {
        "model": _field("Default model", "Used for requests that name none, for example claude-haiku-4-5."),
        "auth": _field(
            "Key sent as",
            "api_key: the header x-api-key. bearer: Authorization, as gateways and workload identities want it.",
            enum=["api_key", "bearer"],
            default="api_key",
        ),
        "anthropic_version": _field(
            "API version",
            f"{STRICT_SINCE} refuses temperature, top_p and top_k; {VERSIONS[-1]} takes them.",
            enum=[*VERSIONS],
            default=NEWEST,
        ),
        "anthropic_beta": _field("Beta features", "Comma-separated; on submission they apply to every request."),
        "workspace_id": _field("Workspace", "Only for a credential that spans several workspaces."),
        "timeout": {
            "label": "Timeout",
            "description": f"Seconds to wait for the next bytes of an answer; {READ_TIMEOUT:.0f} when empty.",
            "schema": {"type": ["number", "null"], "minimum": 1},
        },
        "headers": {
            "label": "Further headers",
            "description": "An object of header names and values, for a proxy. Never a key: that is the password.",
            "schema": {"type": ["object", "null"]},
        },
    }


def _field(label: str, description: str, **schema: Any) -> dict[str, Any]:
    return {"label": label, "description": description, "schema": {"type": ["string", "null"], **schema}}
