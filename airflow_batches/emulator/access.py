"""Authentication: the key (as `x-api-key` or Bearer), its workspace, the API version.

Both headers may be present; one valid key is enough. The messages of the 401s, of a key without a workspace and of a
missing version are recorded live (2026); those of the other refusals are not published, and are written here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from airflow_batches.emulator.errors import ErrorAnswer
from airflow_batches.emulator.settings import Settings

VERSIONS: Final = ("2023-06-01", "2026-10-21")
"""Values of `anthropic-version` that are accepted (docs: API reference of the batch endpoints, 2026)."""
EVERY_WORKSPACE: Final = "*"
"""As a key's workspace: the key works in all of them. A notation of the emulator, not of the API."""
_OAUTH: Final = "sk-ant-oat"
"""Beginning of an OAuth access token (docs: workload identity federation)."""
_OAUTH_REFUSALS: Final[Mapping[str, str]] = {
    "expired": "OAuth access token has expired. Re-authenticate to continue.",
    "revoked": "OAuth access token has been revoked.",
}


def admit(headers: Mapping[str, str], endpoint: str, settings: Settings) -> str:
    """Return the workspace that the call works in.

    Raises ErrorAnswer: 401, 403, or 400 for the version.
    """
    workspace = _workspace(headers, settings)
    if endpoint in settings.denied:
        raise ErrorAnswer(403)
    version = headers.get("anthropic-version")
    if version is None and settings.require_version:
        raise ErrorAnswer(400, "anthropic-version: header is required")
    if version is not None and version not in VERSIONS:
        raise ErrorAnswer(400, f'anthropic-version: "{version}" is not a valid version')
    return workspace


def _workspace(headers: Mapping[str, str], settings: Settings) -> str:
    bound = _bound_workspace(_keys(headers), settings)
    asked = headers.get("anthropic-workspace-id")
    if bound == EVERY_WORKSPACE:
        if not asked:
            raise ErrorAnswer(400, _NO_WORKSPACE)
        return asked
    if asked not in (None, bound):
        raise ErrorAnswer(403, "The credential does not belong to the workspace in anthropic-workspace-id.")
    return bound


_NO_WORKSPACE: Final = (
    "This API key is not scoped to a workspace, so this request must include the anthropic-workspace-id header with the"
    " ID of the workspace to use. Add the header, or use an API key that is scoped to a workspace."
)


def _bound_workspace(keys: list[str], settings: Settings) -> str:
    if not keys:
        raise ErrorAnswer(401, "x-api-key header is required", headers={"x-should-retry": "false"}, anonymous=False)
    known = dict(settings.workspaces)
    if settings.api_key is not None:
        known[settings.api_key] = settings.workspace_id
    accepted = [key for key in keys if key not in settings.refused_tokens]
    for key in accepted:
        if key in known:
            return known[key]
    if settings.api_key is None and accepted:
        return settings.workspace_id
    raise ErrorAnswer(401, _refusal(keys[0], settings))


def _refusal(key: str, settings: Settings) -> str | None:
    if key in settings.refused_tokens:
        return _OAUTH_REFUSALS[settings.refused_tokens[key]]
    return "OAuth access token is invalid." if key.startswith(_OAUTH) else None


def _keys(headers: Mapping[str, str]) -> list[str]:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    return [key for key in (headers.get("x-api-key", ""), bearer) if key]
