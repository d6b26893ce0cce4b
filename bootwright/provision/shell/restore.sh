#!/bin/sh
# Puts a change back, first part. Lines that put back files, then those that take the steps'
# commands back, follow; then restore_end.sh. The argument says why it is run:
#   now       a step failed, or somebody asked for it
#   deadline  the change was not confirmed in time
#   boot      the board starts, and the change was not confirmed before it went down
# It may be interrupted and run again: what was put back already stays as it is.
#
# Needs: remote/shell/sections.sh, provision/shell/docker.sh, provision/shell/actions.sh,
# provision/shell/ended.sh, root.
# Prints these sections:
#   restore   the argument
#   trouble   the message of a command that could not put something back
#   proved    a container runs by the former daemon, and those that ran before run
# Variables, beside those of docker.sh and ended.sh:
#   jobs          the folder that has a folder for each job
#   job           the name of the one that applies the change
#   json_copy     the number of the copy of daemon.json
#   folder_copy   the number of the copy of its folder, which only says whether it was there

why=$1
section restore
printf '%s\n' "$why" | quoted
[ -e "$transaction/armed" ] || { echo "|there is nothing to put back"; report_ended; exit 0; }
if [ "$why" = deadline ]; then
    # The job hangs, or its confirmation never came.
    systemctl stop "bootwright-$job.service" 2>/dev/null
fi
exec 8>"$transaction.lock2"
flock 8
# Another call has just put it back.
[ -e "$transaction/armed" ] || { report_ended; exit 0; }
bad=
attempt() {
    message=$("$@" 2>&1) || { bad=1; section trouble; printf '%s\n' "$message" | quoted; }
}
# At boot no unit runs yet, and a command that waits for one would wait for this script.
attempt_unless_boot() { [ "$why" = boot ] || attempt "$@"; }
disable_again() { [ ! -e "$state/disabled-$1" ] || attempt systemctl disable --quiet "$1"; }
same() {
    [ ! -L "$1" ] && [ ! -L "$2" ] && cmp -s "$1" "$2" &&
        [ "$(stat -c '%a %u %g' "$1")" = "$(stat -c '%a %u %g' "$2")" ]
}
back() {
    # A number, a path. First the file beside it that was not moved into its place any more.
    if [ -e "$2.bootwright" ] || [ -L "$2.bootwright" ]; then rm -f "$2.bootwright"; fi
    if [ -e "$transaction/old/$1.none" ]; then
        if [ -d "$2" ] && [ ! -L "$2" ]; then rmdir "$2" 2>/dev/null; else rm -f "$2"; fi
        return 0
    elif [ -e "$transaction/old/$1" ] || [ -L "$transaction/old/$1" ]; then
        # A file that was not changed may be one that cannot be: it is left alone.
        same "$transaction/old/$1" "$2" || put "$transaction/old/$1" "$2"
    fi
}
daemon_back() {
    [ "$why" != boot ] || return 0
    if [ ! -e "$state/touched" ]; then
        [ ! -e "$state/stopped" ] || start_containers
        return
    elif [ ! -e "$state/active" ]; then
        systemctl stop docker.service
        [ -e "$state/socket" ] || systemctl stop docker.socket
        return
    fi
    how=restart well=0
    if [ -s "$state/running" ] && [ -e "$state/hold" ]; then
        if [ "$(live_restore)" = false ]; then
            # It was not restarted yet, and a restart would take its containers along.
            how=reload
        else
            (umask 022; mkdir -p "${daemon_json%/*}") &&
                put "$transaction/$interim" "$daemon_json" || return 1
        fi
    fi
    systemctl reset-failed docker.service docker.socket 2>/dev/null
    systemctl_docker "$how" || well=1
    # Those that were stopped on purpose, and those that did not survive.
    [ ! -s "$state/running" ] || start_containers || well=1
    back "$json_copy" "$daemon_json"
    back "$folder_copy" "${daemon_json%/*}"
    systemctl_docker reload || return 1
    live_restore >/dev/null || { log_of_daemon; return 1; }
    return "$well"
}
prove() {
    [ "$why" != boot ] && [ -e "$state/touched" ] && [ -e "$state/active" ] || return 0
    smoke >/dev/null || { echo "no container runs"; return 1; }
    check_survivors || return
    : >"$state/proved"
}
