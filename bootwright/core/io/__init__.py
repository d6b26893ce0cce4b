"""Processes, files and questions, as every room uses them."""
