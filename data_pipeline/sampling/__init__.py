"""WHICH ROWS? The sampling asset `copy_filtered_inputs`."""

from data_pipeline.sampling.copy_filtered_inputs import copy_filtered_inputs

__all__ = ["copy_filtered_inputs"]
