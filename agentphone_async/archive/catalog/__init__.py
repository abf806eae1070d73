"""What is known of calls, recordings and runs, in one SQLite file."""
