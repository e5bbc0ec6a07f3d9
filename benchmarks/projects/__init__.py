"""Projects that the benchmarks run as a user would."""
