"""A job file turned into a planned job: checkpoints, dtypes, columns and workers."""
