"""Root file systems: where they come from, how they are verified, and their ext4 images."""
