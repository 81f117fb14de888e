"""`airflow-batches demo`: the whole job on this machine, on a real Airflow that is gone afterwards."""
