"""A private PostgreSQL that starts by itself: `EmbeddedServer(home).start()` gives its URL."""

from data_pipeline.embedded.server import EmbeddedServer

__all__ = ["EmbeddedServer"]
