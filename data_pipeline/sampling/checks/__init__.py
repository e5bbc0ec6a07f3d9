"""Asset checks of tables and of their samples: `table_checks`.

They are apart from the modules that sample, since the code version of sampled tables is a hash of
those: a changed check copies nothing again.
"""

from data_pipeline.sampling.checks.asset_checks import table_checks

__all__ = ["table_checks"]
