"""The only code that touches the world: one gateway for each kind of effect."""
