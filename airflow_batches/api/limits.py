"""Every number the API imposes, once.

Sources: platform.claude.com/docs, pages "Batch processing", "Errors" and "Rate limits" (2026), and answers
recorded live where the pages are silent.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

MAX_REQUESTS: Final = 100_000
"""Requests in one batch."""

MAX_BODY_BYTES: Final = 256_000_000
"""Bytes of one create's body. The pages say "256 MB" without saying which; the decimal reading is the safe one."""

CUSTOM_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}", re.ASCII)
"""What a custom_id must match in full."""

MAX_PAGE: Final = 1_000
"""Batches on one list page; 20 when not asked."""

LIFETIME: Final = timedelta(hours=24)
"""From `created_at` to `expires_at`: what has not been sent to the model by then comes back `expired`."""

RESULTS_KEPT: Final = timedelta(days=29)
"""From `created_at`: after that the batch is archived, its results are gone, the object stays readable."""

FRESH_404: Final = timedelta(seconds=60)
"""How long a batch just created may answer 404 before that is believed (reported: a few seconds)."""
