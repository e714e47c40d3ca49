"""The progress of a run: counted, shown while it runs, and read from its output."""
