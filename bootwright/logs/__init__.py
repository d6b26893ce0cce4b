"""Log records of boards: their form, their order, what is asked of them. Pure."""
