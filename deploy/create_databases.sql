-- Run once by the PostgreSQL image when its volume is empty: the role of Dagster and the pipeline,
-- which is no superuser, and the two databases that it owns.
\getenv owner OWNER
\getenv password OWNER_PASSWORD
\getenv dagster DAGSTER_POSTGRES_DB
\getenv pipeline DATA_PIPELINE_POSTGRES_DB
CREATE ROLE :"owner" LOGIN PASSWORD :'password';
CREATE DATABASE :"dagster" OWNER :"owner";
CREATE DATABASE :"pipeline" OWNER :"owner";
