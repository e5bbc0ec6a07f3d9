"""WHAT does an instance keep? Catalog, staged results, slots, blobs."""
