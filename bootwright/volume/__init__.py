"""The encrypted volume: its LUKS header, unlocking, status and passphrases."""
