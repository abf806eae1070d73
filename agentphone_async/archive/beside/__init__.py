"""What is written beside recordings: each call's JSON, transcripts and sums."""
