"""One pure function for each check of the benchmark, in a module for each section."""
