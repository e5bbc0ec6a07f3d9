"""What a difference between samples means for the whole."""
