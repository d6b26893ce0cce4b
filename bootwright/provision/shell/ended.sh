#!/bin/sh
# Shared function: reports how a change was put back, by itself or by another call.
#
# Needs: remote/shell/sections.sh.
# Prints: nothing by itself; the function prints the sections proved and restored of restore.sh and
# restore_end.sh, if the change was put back since the board was started.
# Variables:
#   id          the change's name
#   ended_file  the file with the name of the change that was put back last, and how that ended

report_ended() {
    [ -r "$ended_file" ] && read -r ended how proof <"$ended_file" && [ "$ended" = "$id" ] ||
        return 0
    [ -z "$proof" ] || section proved
    section restored
    printf '%s\n' "$how" | quoted
}
