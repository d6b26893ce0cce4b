"""The servers that collect logs, and the files that keep them."""
