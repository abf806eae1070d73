"""One run of an archive: what is listed is planned, fetched and remembered."""
