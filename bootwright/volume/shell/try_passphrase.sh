#!/bin/sh
# Tries whether the passphrase on standard input opens a key slot; nothing is opened.
#
# Needs: remote/shell/sections.sh, for PATH.
# Prints: messages of cryptsetup. Its exit status: 0 it does, 2 it does not.
# Variables:
#   luks_device  the device with the LUKS header

exec cryptsetup open --test-passphrase --type luks2 --key-file=- -- "$luks_device"
