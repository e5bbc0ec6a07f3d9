"""WHERE is it? Names, connections, Arrow transfer, catalog, commit and the IO manager."""
