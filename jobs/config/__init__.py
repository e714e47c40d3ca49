"""The job file: its fields, its dates, and what is reported when something in it is wrong."""
