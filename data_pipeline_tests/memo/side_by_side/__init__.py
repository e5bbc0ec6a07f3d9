"""Two pipelines that share raw tables, input tables and a stage."""
