#!/bin/sh
# Made by bootwright. Run when the relay of logs is to end: waits, 20 s at most, until it has read
# what was written to its socket, and records how many log records it has lost, for the next start
# of the relay to report.
#
# Prints: nothing; writes LOST_BEFORE=... to the file `lost`, which the relay's unit reads as its
# environment: for each of the last five starts, the id of the start, `=`, and the records lost.
# Variables:
#   socket        the socket that programs log to
#   control       the control socket of the relay
#   state_folder  where the relay keeps its state
# From the environment, set by the relay's unit: LOST_BEFORE, INVOCATION_ID.

count=0
while [ "$count" -lt 100 ] &&
    [ "$(ss -Hax src "$socket" 2>/dev/null |
        awk '{ waiting += $3 } END { print waiting + 0 }')" -gt 0 ]; do
    sleep 0.2 2>/dev/null || sleep 1
    count=$((count + 1))
done
lost=$(syslog-ng-ctl stats --control="$control" |
    awk -F ';' '/^dst[.][^;]*;collector#/ && $5 == "dropped" { lost += $6 } END { print lost + 0 }')
[ "${lost:-0}" -gt 0 ] || exit 0
# Split into words: one for each start.
# shellcheck disable=SC2086
set -- $LOST_BEFORE "$INVOCATION_ID=$lost"
while [ "$#" -gt 5 ]; do shift; done
cd "$state_folder" && echo "LOST_BEFORE=$*" >lost.new && mv -f lost.new lost
