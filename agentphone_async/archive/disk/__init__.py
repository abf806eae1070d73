"""Recordings on the disk: where they go, and what really lies there."""
