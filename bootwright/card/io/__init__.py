"""Access to devices and files, and running the tools that make a card."""
