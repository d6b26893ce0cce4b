#!/bin/sh
# Sets the board's clock.
#
# Needs: root.
# Prints: nothing. Its exit status is not 0 if the clock could not be set.
# Variables:
#   seconds  the time, in seconds since 1970, with a fraction

date -u -s "@$seconds" >/dev/null
