"""Runs of a job: prepare its output, record its events, return its result."""
