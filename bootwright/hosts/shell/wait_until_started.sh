#!/bin/sh
# Shared function: `wait_until_started` waits, 90 s at most, until a board that was switched on
# less than 15 minutes ago has started its services. Before that its Docker daemon and its audit
# rules would be missing from a report.
#
# Prints: nothing.
# Variables: none.

wait_until_started() {
    read -r uptime _ </proc/uptime
    # A board that is busy starting takes more than a second for each round.
    end=$((${uptime%.*} + 90))
    while [ "${uptime%.*}" -lt 900 ] && [ "${uptime%.*}" -lt "$end" ]; do
        case $(systemctl is-system-running 2>/dev/null) in
        starting | initializing) sleep 1 ;;
        *) break ;;
        esac
        read -r uptime _ </proc/uptime
    done
}
