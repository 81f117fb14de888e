"""Results stream -> object storage: every line, once, checked. Works without Airflow, on any fsspec path."""

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
