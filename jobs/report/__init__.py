"""The report: one HTML page about an output, which needs no network and runs no script."""
