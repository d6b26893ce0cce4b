#!/bin/sh
# Puts a change back, last part: the daemon, and what had the board put it back.
#
# Needs: provision/shell/restore.sh.
# Prints the section trouble of restore.sh, and this one:
#   restored  `well`, or `1` if something could not be put back
# Variables: those of restore.sh.

attempt daemon_back
attempt prove
section restored
printf '%s\n' "${bad:-well}" | quoted
sync
rm -f "$transaction/armed" "$jobs/$job"/[0-9]*
sync
# Only now: until the mark is gone for good, the next start has to put back.
disarm
[ "$why" = deadline ] || systemctl stop bootwright-deadline.timer 2>/dev/null
systemctl daemon-reload
if [ -z "$bad" ]; then
    rm -rf "$transaction"
else
    # The only copies of what could not be put back.
    rm -rf "$transaction.failed"
    mv "$transaction" "$transaction.failed"
fi
