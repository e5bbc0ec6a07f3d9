"""WHAT is known from earlier draws? Facts of the source, and copies that would be the same."""
