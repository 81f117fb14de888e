"""The API's limits.

Sources: platform.claude.com/docs, pages "Batch processing", "Errors" and "Rate limits" (2026), and answers recorded
live where the pages say nothing.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

MAX_REQUESTS: Final = 100_000
"""Requests in one batch (docs, "Batch processing")."""

MAX_BODY_BYTES: Final = 256_000_000
"""Bytes of one create's body. The docs say "256 MB" without a definition; the decimal one is safe."""

CUSTOM_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}", re.ASCII)
"""What a whole custom_id must match (docs, "Batch processing")."""

MAX_PAGE: Final = 1_000
"""Batches on one list page; the API's default is 20."""

LIFETIME: Final = timedelta(hours=24)
"""From `created_at` to `expires_at`. Requests that were not sent to the model by then have the result `expired`."""

RESULTS_KEPT: Final = timedelta(days=29)
"""From `created_at` (docs, "Batch processing"). After that the batch is archived: its results are deleted, the
batch object stays readable."""

FRESH_404: Final = timedelta(seconds=60)
"""How long a new batch may answer 404 before it counts as missing. Reported: some seconds (anthropic-sdk-python issue
1432). Chosen: a minute, to be safe."""
