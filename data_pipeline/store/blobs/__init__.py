"""Blobs: objects as files, on a disk or in object storage."""
