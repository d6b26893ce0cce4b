#!/bin/sh
# Shared function: `start_units_and_report` starts what lies on the open volume, in order and up
# to the first unit that fails, and reports the state of the volume.
#
# Needs: volume/shell/volume_facts.sh.
# Prints for each unit this section, and after them those of report_volume:
#   start    the unit, the exit status of systemctl, and its message
#   journal  of a unit that failed: the last lines of its journal
# Variables:
#   start_units  list: the units to start

start_unit() {
    message=$(systemctl start -- "$1" 2>&1 </dev/null)
    status=$?
    section start
    printf '%s\n' "$1" "$status" "$message" | quoted
    [ "$status" -eq 0 ] && return
    section journal
    journalctl --no-pager -b -o cat -n 8 -u "$1" 2>&1 </dev/null | quoted
    return 1
}
start_units_and_report() {
    eval "set -- $start_units"
    for unit; do
        start_unit "$unit" || break
    done
    report_volume
}
