"""Auditing a board by the CIS Docker Benchmark: facts in one SSH call, pure checks, reports."""
