#!/bin/sh
# Records what the board is restarted for, and restarts it in a second: this connection still
# learns whether the restart was begun.
#
# Needs: remote/shell/sections.sh, for PATH.
# Prints: nothing. Its exit status is not 0 if the restart was not begun.
# Variables:
#   rebooted_file  the file with the kernel that the board was last restarted for
#   kernel         the kernel that is to run after the restart

mkdir -p "${rebooted_file%/*}" && printf '%s\n' "$kernel" >"$rebooted_file" && sync &&
    systemd-run --quiet --on-active=1 systemctl reboot
