"""Which calls are wanted, in the words that people use."""
