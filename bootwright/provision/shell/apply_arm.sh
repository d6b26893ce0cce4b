#!/bin/sh
# Applies a change, second part: once everything is copied, has the board put it back at its next
# start, or when the time to confirm is over. The lines of the steps follow, then apply_prove.sh.
#
# Needs: provision/shell/apply.sh.
# Prints: the section failed of apply.sh.
# Variables, beside those of apply.sh:
#   id               the change's name, by which it is confirmed
#   confirm_seconds  how long it waits to be confirmed
#   stop             yes: the containers are stopped before the first step

begin write_restore_unit
# The unit is for the next start of the board; the systemd that runs need not read it.
begin systemctl enable --quiet --no-reload bootwright-restore.service
# The copies have to be on the disk before the mark, and the mark before anything changes.
sync
echo "$id" >"$transaction/armed"
sync
message=$(systemd-run --quiet --collect --unit=bootwright-deadline \
    --on-active="$confirm_seconds" --timer-property=AccuracySec=1s \
    /bin/sh "$transaction/restore" deadline 2>&1) || fail begin
[ -z "$stop" ] || message=$(stop_containers 2>&1) || fail begin
