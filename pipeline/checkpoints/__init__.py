"""Checkpoints found, downloaded and cached."""
