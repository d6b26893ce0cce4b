"""Root file systems: where they come from, who vouches for them, and their ext4 images."""
