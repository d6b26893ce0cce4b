"""Read-only subjects: what to run or read, and a pure parser for each."""
