"""HOW is a large table cut into ranges? One module a way of cutting."""
