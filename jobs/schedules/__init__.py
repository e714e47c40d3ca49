"""Jobs that run at set times: a store of schedules and runs, and the process that starts them."""
