"""cryptsetup."""
