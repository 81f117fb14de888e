"""What differs between the Airflow versions that the tests run on (3.1 to the 3.4 beta)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.models.dagrun import DagRun
else:
    try:
        from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    except ImportError:  # before 3.2
        from airflow.models.dagbag import DagBag, sync_bag_to_db


def run_the_dag_in(folder: Path, conf: dict[str, Any]) -> DagRun:
    """One run of the only DAG that the files of a DAGs folder define, which is the bundle `dags-folder`.

    `dag.test()` runs the DAG that Airflow has stored. Airflow 3.1 to 3.3 store it only where they have none of that
    name; the 3.4 beta wants it stored before. All keep stored DAGs in memory: let two tests' DAGs have two names.
    """
    from airflow.dag_processing.bundles.manager import DagBundlesManager

    bag = DagBag(folder, bundle_path=folder)
    assert not bag.import_errors
    DagBundlesManager().sync_bundles_to_db()
    sync_bag_to_db(bag, "dags-folder", None)
    (dag,) = bag.dags.values()
    finished: DagRun = dag.test(run_conf=conf)
    return finished


def store_dags_in(folder: Path) -> None:
    """Store the DAGs of a folder in Airflow's tables, as the DAG processor does."""
    bag = DagBag(folder, bundle_path=folder)
    assert not bag.import_errors
    sync_bag_to_db(bag, "dags-folder", None)


def through_the_database(classpath: str, kwargs: dict[str, Any]) -> dict[str, Any]:
    """A trigger's kwargs as the triggerer gets them: written to Airflow's table of triggers and read from it."""
    from airflow.models.trigger import Trigger

    read: dict[str, Any] = Trigger(classpath=classpath, kwargs=kwargs).kwargs
    return read
