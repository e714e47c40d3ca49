"""Running a job: its output is claimed, its events are recorded, its result is returned."""
