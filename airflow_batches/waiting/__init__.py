"""Batch id to how it ended."""
