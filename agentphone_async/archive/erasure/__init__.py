"""Calls are erased for good, and stay erased."""
