"""The page "Message Batches" in Airflow's UI.

1. `plugin` tells Airflow about the page. Every process of Airflow imports it, so it loads nothing else.
2. `page` serves the page's files. They are built from `ui/` and hold no data.
3. `address` says where the page is.

The page reads Airflow's public REST API with the reader's own session. So Airflow's permissions apply, the API server
needs no API key, and there is no route of this package that returns data.
"""
