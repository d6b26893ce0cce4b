"""Pure decisions: configuration and facts in, a frozen plan out."""
