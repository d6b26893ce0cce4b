#!/bin/sh
# Opens the volume by the passphrase on standard input, and starts what lies on it.
#
# Needs: volume/shell/start_units.sh.
# Prints, and after it the sections of start_units_and_report if the volume is open, and the end:
#   open  the exit status of cryptsetup, and its message
# Variables:
#   luks_device   the device with the LUKS header
#   open_options  list: further options for `cryptsetup open`

eval "set -- $open_options"
message=$(cryptsetup open --type luks --key-file=- "$@" -- "$luks_device" "$volume" 2>&1)
status=$?
section open
printf '%s\n' "$status" "$message" | quoted
# 5: the volume or the device is in use already; somebody else may have opened it.
case $status in 0 | 5) start_units_and_report ;; esac
section end
