"""The small checkpoints of the demo and of the tasks' pages. `training/` holds the scripts that made them."""
