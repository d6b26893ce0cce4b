"""Auditing a board against the CIS Docker Benchmark: one round trip, pure checks, reports."""
