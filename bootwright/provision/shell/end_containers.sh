#!/bin/sh
# Made by bootwright. Run when the board shuts down, before Docker ends: has Docker end its
# containers itself, and so read what they log while they end. With live-restore it would leave
# them running, and systemd would kill them later.
#
# For this, the daemon reads a copy of its settings with live-restore off, which is mounted over
# the file until the board is off; the file itself does not change. Restart policies start at
# the next boot what ran. On a busy board, the daemon waits 60 s for the 10 s that each container
# has to end; if the file has a shutdown-timeout of its own, that one counts, since it comes later.
#
# Needs: hosts/shell/root_docker.sh.
# Prints: nothing.
# Variables:
#   daemon_json  the daemon's settings
#   copy         where the copy is written

# Not if somebody stops the unit by hand.
[ "$(systemctl is-system-running)" = stopping ] || exit 0
sed -e 's/"live-restore"[[:space:]]*:[[:space:]]*true/"live-restore": false/' \
    -e '1s/{/{ "shutdown-timeout": 60,/' "$daemon_json" >"$copy" &&
    mount --bind "$copy" "$daemon_json" &&
    systemctl kill --kill-who=main --signal=HUP docker.service || exit
count=0
until [ "$(timeout 10 docker info --format '{{.LiveRestoreEnabled}}')" = false ]; do
    count=$((count + 1))
    [ "$count" -lt 50 ] || exit
    sleep 0.2 2>/dev/null || sleep 1
done
