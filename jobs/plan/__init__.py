"""The plan of a job: units, rows, time, cost and size, estimated from a sample."""
