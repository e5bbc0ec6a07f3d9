"""WHICH ROWS? The sampling asset `copy_filtered_inputs`."""
