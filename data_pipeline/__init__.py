"""One Dagster pipeline as isolated instances (full, midi, mini) in one PostgreSQL database."""
