"""WHAT goes away? The inventory of an instance, what is in the way, and dropping it."""
