"""Collecting and reading the logs of boards."""
