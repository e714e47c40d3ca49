"""What a job would do: units, rows, time, cost and size, estimated from a sample."""
