-- Run once by the PostgreSQL image when its volume is empty. It has created POSTGRES_DB by then,
-- for Dagster's own tables; this adds the database of the pipeline.
\getenv pipeline DATA_PIPELINE_POSTGRES_DB
CREATE DATABASE :"pipeline";
