"""A board made a hardened Docker host, or left what it was."""
