"""Land a batch's results in object storage: every line once, checked.

It works without Airflow, on any fsspec path. The journey of a landing, file by file:
1. `engine.land` names the `place` of the objects (`location`, `version`). If the batch has landed there, it is done.
2. `stream` reads the results in as many attempts as it takes (`reader`). `blocks` cuts them into lines, decodes them
   (`lines`), and drops those of earlier attempts.
3. `ingest` counts the lines (`tally`, `usage`, `prices`) and passes them to the `output`. The `store_thread` encodes
   them (`formats`, `parquet`) and writes them (`writer`, with `local_file` and `s3_upload`).
4. `verify` compares the lines with the batch's counts, and their ids with the receipt: a `mismatch`, or none.
5. `store` has `publish` make the results and the `manifest` visible. `command` does all of it from a terminal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_batches._lazy import exports

if TYPE_CHECKING:
    from airflow_batches.landing.engine import land as land
    from airflow_batches.landing.errors import LandingError as LandingError
    from airflow_batches.landing.errors import LandingMismatch as LandingMismatch
    from airflow_batches.landing.errors import LandingOvertaken as LandingOvertaken
    from airflow_batches.landing.errors import LandingRefused as LandingRefused
    from airflow_batches.landing.errors import LandingTimeout as LandingTimeout
    from airflow_batches.landing.location import Location as Location
    from airflow_batches.landing.manifest import LandedBy as LandedBy
    from airflow_batches.landing.manifest import Manifest as Manifest
    from airflow_batches.landing.progress import Progress as Progress

_MODULES = {
    "LandedBy": "manifest",
    "LandingError": "errors",
    "LandingMismatch": "errors",
    "LandingOvertaken": "errors",
    "LandingRefused": "errors",
    "LandingTimeout": "errors",
    "Location": "location",
    "Manifest": "manifest",
    "Progress": "progress",
    "land": "engine",
}
__all__ = sorted(_MODULES)
__getattr__, __dir__ = exports(__name__, _MODULES)
