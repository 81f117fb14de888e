"""Open stores with Airflow's connections, for `submission`, which imports no Airflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
