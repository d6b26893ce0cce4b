"""What touches the world: finding boards in the network."""
