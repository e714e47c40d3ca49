"""Checks of a finished output, and removal of what its inputs no longer have."""
