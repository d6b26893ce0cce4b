"""Where certificates and keys are kept."""
