#!/bin/sh
# Sets the board's clock.
#
# Sources: date(1), timedatectl(1).
#
# Needs: remote/shell/sections.sh, root.
# Prints this section if the clock was left as it is, then the end:
#   kept  a time server keeps it right
# Its exit status is not 0 if the clock could not be set; a message is on standard error then.
# Variables:
#   seconds       the time, in seconds since 1970, with a fraction
#   unless_right  yes: leave a clock as it is that a time server keeps right

if [ -n "$unless_right" ] &&
    [ "$(timedatectl show --property=NTPSynchronized --value 2>/dev/null)" = yes ]; then
    section kept
else
    # Not every date knows fractions.
    date -u -s "@$seconds" >/dev/null 2>&1 || date -u -s "@${seconds%.*}" >/dev/null || exit
fi
section end
