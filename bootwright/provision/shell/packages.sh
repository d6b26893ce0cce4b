#!/bin/sh
# Shared functions of the jobs that install packages and bring them up to date; each may be run
# again at any time, also after an interruption.
#
# Needs: remote/shell/sections.sh, remote/shell/job_progress.sh, and root.
# Prints one of these sections:
#   failed   what was tried, and the last lines of its output; the job ends with 1
#   missing  (record_upgrade) the lists of packages that could not be fetched
# Variables:
#   needed_mib     MiB that have to be free on /
#   packages       list: the packages to install
#   upgraded_file  the file with the date of the last upgrade of packages

stop() {
    section failed
    printf '%s\n' "$1" "$message" | quoted
    exit 1
}
# Records the progress $1 and runs the command behind it; the job ends if it fails.
try() {
    purpose=$1
    shift
    progress "$purpose"
    message=$("$@" 2>&1 </dev/null) && return
    message=$(printf '%s\n' "$message" | tail -n 15)
    stop "$purpose"
}
check_space() {
    free=$(df -Pk / | awk 'NR == 2 { print int($4 / 1024) }')
    message="$free MiB are free on /, and $needed_mib are needed"
    [ "$free" -ge "$needed_mib" ] || stop "look for space"
}
# Records the date and the lists of packages that are missing, $1, a line each.
record_upgrade() {
    mkdir -p "${upgraded_file%/*}"
    printf '%s %s\n' "$(date -u +%Y-%m-%d)" "$(printf '%s' "$1" | tr '\n' ' ')" \
        >"$upgraded_file.new"
    mv -f "$upgraded_file.new" "$upgraded_file"
    section missing
    printf '%s\n' "$1" | quoted
}
