"""What three or more rooms need: errors, secrets, sizes, configuration, the command line."""
