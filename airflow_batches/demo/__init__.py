"""`airflow-batches demo`: a whole job on a private Airflow that is removed afterwards.

`command` reads the flags and `run` runs the steps. `service` provides the API: the emulator, or Anthropic's own.
`private_airflow` starts Airflow's processes (`component`) with an environment of their own (`environment`);
`interruptions` makes sure that signals leave nothing behind. `example` triggers the example DAG and follows it over
Airflow's REST API (`rest`) and the ledger in the job's folder. `stages` names the stage of the run, `screen` shows it,
`report` prints the results.
"""
