"""Serial ports, terminals, pseudo-terminals, and the files that remember a console."""
