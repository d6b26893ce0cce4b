#!/bin/sh
# Puts a change back at once, if it was not confirmed.
#
# Needs: remote/shell/sections.sh, provision/shell/ended.sh, root.
# Prints the sections of restore.sh, or one of these; then the end:
#   busy      a run applies it just now
#   too-late  it is not there any more; the sections of ended.sh follow
# Variables, beside those of ended.sh:
#   transaction  the folder of the change
#   id           the change's name; empty: any, as long as no run applies it
#   job          the name of the job that applies changes

if [ -z "$id" ] && systemctl is-active --quiet "bootwright-$job.service"; then
    section busy
elif [ -n "$id" ] && [ "$(cat "$transaction/armed" 2>/dev/null)" != "$id" ]; then
    section too-late
    report_ended
else
    sh "$transaction/restore" now
fi
section end
