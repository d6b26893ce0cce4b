#!/bin/sh
# Goes before a job that restarts the Docker daemon by the way, as an upgrade of packages does:
# containers go on running then. It runs in the job's folder.
#
# Needs: remote/shell/sections.sh, remote/shell/job_progress.sh, provision/shell/docker.sh, root.
# Prints this section if it cannot be done, and ends the job:
#   failed  what was tried, and the message
# Variables: those of docker.sh.

progress "have containers outlive the daemon"
mkdir "$state"
: >"$state/hold"
message=$({ list_running >"$state/running" && hold_containers; } 2>&1) || {
    section failed
    printf '%s\n' "have containers outlive the daemon" "$message" | quoted
    exit 1
}
# What the job writes is for everybody to read, unless it says otherwise.
umask 022
