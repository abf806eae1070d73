"""Do the files still hold what the catalog says? What is wrong is repaired or accepted."""
