"""Scripts and jobs on a board over SSH."""
