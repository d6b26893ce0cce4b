"""Which boards are meant, several at a time, and what a board should be."""
