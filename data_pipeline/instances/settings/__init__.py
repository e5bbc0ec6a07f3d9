"""WHAT can be set? The sections of `instances.yaml`, with every default."""
