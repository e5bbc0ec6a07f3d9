"""How large a sample will be and what it will lack, said before any row is copied."""
