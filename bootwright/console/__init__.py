"""Reading a boot console: prompt recognition and the boot state machine, pure."""
