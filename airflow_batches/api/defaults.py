"""What a client uses unless told otherwise, and the API versions to choose from.

Imports nothing: the provider's metadata names these values too, and every process of Airflow reads it.
"""

from __future__ import annotations

from typing import Final

BASE_URL: Final = "https://api.anthropic.com"
NEWEST: Final = "2026-10-21"
"""The newest API version. Anthropic's SDK for Python sends it from 2.0 on. Versions compare as text."""
VERSIONS: Final = (NEWEST, "2023-06-01")
"""The values that the header `anthropic-version` may have (docs)."""
STRICT_SINCE: Final = "2026-10-21"
"""The first API version that refuses sampling parameters (docs, "migration-2026-10-21")."""

CONNECT_TIMEOUT: Final = 10.0
"""Seconds to connect. Chosen: twice the 5 s of Anthropic's SDK, for slow proxies."""
READ_TIMEOUT: Final = 600.0
"""Seconds for each wait for bytes: the default of Anthropic's SDK."""
