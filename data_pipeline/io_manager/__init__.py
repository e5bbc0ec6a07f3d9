"""HOW do assets read and write? The IO manager, and the identity of what it stores."""
