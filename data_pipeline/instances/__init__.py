"""WHICH copy? Configuration, partitions and the instance resource."""
