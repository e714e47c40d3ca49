"""From a job file to a planned job: checkpoints, dtypes, columns and workers."""
