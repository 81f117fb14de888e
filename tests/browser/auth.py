"""Airflow's simple auth manager with users who may read less than a viewer.

| user         | may read                                   |
|--------------|--------------------------------------------|
| adam         | everything, as an admin                    |
| uma          | everything, as a user                      |
| vera         | everything, as a viewer                    |
| one          | the DAG `reviews`                          |
| none         | no DAG                                     |
| without-xcom | all DAGs, but no XCom                      |
| stranger     | nothing about DAGs: Airflow answers 403    |
"""

from __future__ import annotations

from typing import Any, Final

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

USERS: Final = {
    "adam": "admin",
    "uma": "user",
    "vera": "viewer",
    "one": "viewer",
    "none": "viewer",
    "without-xcom": "viewer",
    "stranger": "viewer",
}
"""User names and their roles."""
DAGS: Final = {"one": {"reviews"}, "none": set[str]()}
"""The DAGs of those who may read only some."""


class NarrowAuthManager(SimpleAuthManager):
    """The simple auth manager, narrowed by the table above."""

    def is_authorized_dag(
        self, *, user: Any, access_entity: DagAccessEntity | None = None, details: Any = None, **options: Any
    ) -> bool:
        if user.username == "stranger" or (user.username == "without-xcom" and access_entity is DagAccessEntity.XCOM):
            return False
        dag_id = details.id if details else None
        if user.username in DAGS and dag_id not in {None, "~", *DAGS[user.username]}:
            return False
        return bool(super().is_authorized_dag(user=user, access_entity=access_entity, details=details, **options))
