"""The files of an archive: what lies on the disk, and what vouches for it."""
