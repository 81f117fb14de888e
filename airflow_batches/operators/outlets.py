"""Put a manifest's numbers into the events of a task's outlet assets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from airflow.sdk import Context

RETURN_VALUE: Final = "return_value"
"""The XCom key of a task's return value; a task that fails returns nothing, so the manifest is pushed."""


def update_outlets(context: Context, outlets: Iterable[Any], uri: str, manifest: Mapping[str, Any]) -> None:
    """Add a manifest to the event of each outlet.

    :param context: Airflow's context.
    :param outlets: the task's outlets; an alias becomes the asset of the URI.
    :param uri: the asset's URI.
    :param manifest: plain JSON values.
    """
    from airflow.sdk import Asset, AssetAlias

    for outlet in outlets:
        if isinstance(outlet, Asset):
            context["outlet_events"][outlet].extra.update(manifest)
        elif isinstance(outlet, AssetAlias):
            context["outlet_events"][outlet].add(Asset(uri), extra=dict(manifest))
