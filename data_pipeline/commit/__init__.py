"""WHEN do readers see it? Staged tables become visible, a stage as a whole."""
