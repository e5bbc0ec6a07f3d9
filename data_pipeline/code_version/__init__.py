"""WHICH code? The version of the code that makes an asset; usable without the rest."""
