"""Auditing a board against the CIS Docker Benchmark: pure judgements over parsed facts."""
