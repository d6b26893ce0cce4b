"""SSH connections, host keys and client keys."""
