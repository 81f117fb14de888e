"""Open stores with Airflow's connections, for the engine, which imports no Airflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_batches.landing.location import Location
    from airflow_batches.submission.stores import ObjectStore, OpenStore


def airflow_store(conn_id: str | None) -> OpenStore:
    """Return a function that returns a URI's file system and the object's path there.

    :param conn_id: the connection of a URI that names none; None takes the store's default connection.
    """
    from airflow_batches._uri import conn_id_for

    def open_store(uri: str) -> tuple[ObjectStore, str]:
        from airflow.sdk import ObjectStoragePath

        place = ObjectStoragePath(uri, conn_id=conn_id_for(uri, conn_id))
        # Not place.open(): Airflow's wrapper reports each read as a lineage event.
        return place.fs, place.path

    return open_store


def airflow_location(path: object, conn_id: str | None) -> Location:
    """Return the place of an object.

    :param path: its URI, or an absolute path object.
    :param conn_id: the connection of a URI that names none; None takes the store's default connection.
    :raises LandingRefused: it names no object, or cannot be opened.
    """
    from airflow.sdk import ObjectStoragePath

    from airflow_batches._extras import install_hint
    from airflow_batches._uri import conn_id_for, redact_uri
    from airflow_batches.landing import LandingRefused, Location
    from airflow_batches.landing.location import require_uri

    uri = require_uri(path)
    try:
        stored = ObjectStoragePath(uri, conn_id=conn_id_for(uri, conn_id))
        # The bare file system, because files opened through ObjectStoragePath report lineage at every write.
        return Location(stored.fs, stored.path, f"{stored.protocol}://{stored.path}")
    except (ValueError, ImportError) as exc:
        raise LandingRefused(f"{redact_uri(uri)!r} cannot be opened: {exc}{install_hint(uri)}") from exc
