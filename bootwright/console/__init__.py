"""Serial consoles: bytes to lines, prompts and states of a boot; transcripts; simulated boards."""
