"""Downloads, tarballs, and the tools that make and read ext4."""
