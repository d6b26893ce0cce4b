"""The evaluators: one pure function for each check of the benchmark."""
