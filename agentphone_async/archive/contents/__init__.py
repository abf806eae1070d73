"""What an archive holds and what it lacks, told to people and programs."""
