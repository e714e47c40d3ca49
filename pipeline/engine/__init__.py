"""Running a planned job: the same stage functions in one process, or through Ray Data and pools of actors."""
