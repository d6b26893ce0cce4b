#!/bin/sh
# Sets the board's clock, and what the next start of the board takes the time from: its hardware
# clock, or the file of a service that keeps the time over a restart.
#
# Sources: date(1), timedatectl(1), hwclock(8), systemd-timesyncd.service(8), fake-hwclock(8), and the
# kernel's Documentation/ABI/testing/sysfs-class-rtc (since_epoch).
#
# Needs: remote/shell/sections.sh, root.
# Prints this section if the clock was left as it is, then the end:
#   kept  a time server keeps it right
# Its exit status is not 0 if the clock could not be set; a message is on standard error then.
# Variables:
#   seconds       the time, in seconds since 1970, with a fraction
#   unless_right  yes: leave a clock as it is that a time server keeps right
#   rtc_file      the file with the time of the hardware clock, in seconds since 1970
#   saved_file    the file by whose time of change systemd-timesyncd keeps the time over a restart

if [ -n "$unless_right" ] &&
    [ "$(timedatectl show --property=NTPSynchronized --value 2>/dev/null)" = yes ]; then
    section kept
else
    # Not every date knows fractions.
    date -u -s "@$seconds" >/dev/null 2>&1 || date -u -s "@${seconds%.*}" >/dev/null || exit
    # A board whose hardware clock is wrong, or that has none, would start with a wrong time again. None
    # of this has to work: the clock is right now.
    if [ -e "$rtc_file" ]; then
        # One that has lost its power has no time until it is set: reading the file fails.
        rtc=
        read -r rtc <"$rtc_file"
        case $rtc in '' | *[!0-9]*) rtc=0 ;; esac
        off=$((${seconds%.*} - rtc))
        [ "$off" -ge -60 ] && [ "$off" -le 60 ] || hwclock --systohc >/dev/null 2>&1
    fi 2>/dev/null
    # systemd starts with the time when this file was changed last, if its own is earlier.
    [ ! -e "$saved_file" ] || touch "$saved_file"
    ! command -v fake-hwclock >/dev/null || fake-hwclock save force >/dev/null 2>&1
fi
section end
