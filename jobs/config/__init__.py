"""The job file: its fields, its dates, and the messages about its mistakes."""
