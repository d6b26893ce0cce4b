#!/bin/sh
# Confirms a change: it stays.
#
# Needs: remote/shell/sections.sh, provision/shell/ended.sh, root.
# Prints one of these sections, then the end:
#   confirmed  it stays
#   too-late   it is not there any more: the board has put it back, or it is another run's; the
#              sections of ended.sh follow
# Variables, beside those of ended.sh:
#   transaction  the folder of the change
#   jobs         the folder that has a folder for each job
#   job          the name of the one that applied the change

exec 8>"$transaction.lock2"
flock 8
if [ "$(cat "$transaction/armed" 2>/dev/null)" = "$id" ]; then
    # The files have to be on the disk before the mark is gone, by which they would be put back.
    sync
    rm -f "$transaction/armed"
    sync
    systemctl stop bootwright-deadline.timer 2>/dev/null
    # The reload comes once, when the file is gone too: it takes a while on a slow board.
    systemctl disable --quiet --no-reload bootwright-restore.service
    rm -f /etc/systemd/system/bootwright-restore.service
    systemctl daemon-reload
    rm -rf "$transaction" "${jobs:?}/$job"
    section confirmed
else
    section too-late
    report_ended
fi
section end
