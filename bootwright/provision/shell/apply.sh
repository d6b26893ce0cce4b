#!/bin/sh
# Applies a change, first part: makes room for the copies of what will change. It runs as a job, in
# a folder with the files that it installs; lines that copy follow, then apply_arm.sh.
#
# Needs: remote/shell/sections.sh, remote/shell/job_progress.sh, provision/shell/docker.sh,
# provision/shell/actions.sh, root.
# Prints these sections:
#   step      a step that begins
#   failed    the step that failed, and its message; the script ends then
#   restored  `broken off`: it could not be put back; else restore.sh prints this section
# Variables, beside those of docker.sh:
#   jobs           the folder that has a folder for each job
#   job            the name of this one
#   keep           yes: running containers go on running while the daemon is restarted
#   hides_data     yes: the daemon does not find its containers any more after the change
#   reloaded_file  the file that is written when the daemon has read daemon.json again
# Files in the folder of the change:
#   old/N             a copy of what will change, by a number for each path
#   old/N.none        nothing was there
#   state/active      the daemon ran
#   state/socket      its socket was active
#   state/stopped     the containers were stopped
#   state/touched     the daemon was restarted, reloaded or started
#   state/disabled-U  the unit U was not enabled
#   state/audit-rules the audit rules that the kernel had
#   state/audit-former the former file of our audit rules; empty if there was none
#   armed             the change will be put back unless it is confirmed; the change's id

ours=
begin() {
    message=$("$@" 2>&1) && return
    section failed
    printf '%s\n' begin "$*: $message" | quoted
    # What another run has armed stays.
    [ -z "$ours" ] || { disarm; systemctl daemon-reload; rm -rf "$transaction"; }
    rm -f "$jobs/$job"/[0-9]*
    exit 1
}
fail() {
    section failed
    printf '%s\n' "$1" "$message" | quoted
    sh "$transaction/restore" now || { section restored; echo "|broken off"; }
    exit 1
}
backup() {
    # A number, a path. A folder that exists is not changed: only one that does not gets a mark.
    if [ -d "$2" ] && [ ! -L "$2" ]; then
        return
    elif [ -e "$2" ] || [ -L "$2" ]; then
        cp -pP "$2" "$transaction/old/$1"
    else
        : >"$transaction/old/$1.none"
    fi
}
record_disabled() {
    systemctl is-enabled --quiet "$1" 2>/dev/null || : >"$state/disabled-$1"
}
begin_step() {
    step=$1
    section step
    echo "|$1"
    progress "$1"
}
# A command of the step that was begun last.
run() { message=$("$@" 2>&1) || fail "$step"; }
mark_touched() { : >"$state/touched"; }
# The daemon has read daemon.json. If the clock was ahead when that was written, and is right now, it
# would seem to be newer than every later start of the daemon: then it gets the time of now.
mark_read() {
    : >"$reloaded_file"
    [ ! "$daemon_json" -nt "$reloaded_file" ] || touch "$daemon_json" "$reloaded_file"
}
restart_docker() {
    mark_touched
    # The new file is in place already. The daemon that runs must not read it, but have
    # live-restore switched on with its old configuration.
    rm -f "$transaction/wanted.json"
    [ ! -e "$daemon_json" ] || cp -p "$daemon_json" "$transaction/wanted.json" || return 1
    hold_containers || return 1
    if [ -e "$transaction/wanted.json" ]; then
        put "$transaction/wanted.json" "$daemon_json" || return 1
    else
        rm -f "$daemon_json" || return 1
    fi
    systemctl_docker restart && mark_read || return 1
    if [ ! -e "$state/hold" ]; then
        if [ -n "$hides_data" ]; then
            # Those that the daemon still finds.
            start_containers >/dev/null || :
        else
            start_containers || return 1
        fi
    fi
    check_survivors
}
reload_docker() {
    mark_touched
    systemctl_docker reload && mark_read && check_survivors
}
start_docker() {
    mark_touched
    systemctl reset-failed docker.service docker.socket 2>/dev/null
    systemctl_docker start && mark_read
}
# $1: the file of our rules, if there is one. Without auditctl, or with a kernel that lists no rules,
# nothing is recorded.
record_audit_rules() {
    : >"$state/audit-former"
    [ ! -e "$1" ] || cat "$1" >"$state/audit-former" || return 1
    auditctl -l >"$state/audit-rules" 2>/dev/null && return
    rm -f "$state/audit-rules"
    echo "auditctl -l: the kernel does not list its audit rules"
    return 1
}
record_daemon() {
    systemctl is-active --quiet docker.socket && : >"$state/socket"
    systemctl is-active --quiet docker.service
    case $? in
    0) : >"$state/active" ;;
    3 | 4) ;; # Not active, no such unit; other numbers: systemd did not answer.
    *) return 1 ;;
    esac
}
record_containers() { list_running >"$state/running"; }
write_restore_unit() {
    cat >/etc/systemd/system/bootwright-restore.service <<UNIT
[Unit]
Description=Put back what an unfinished inv provision changed
DefaultDependencies=no
After=local-fs.target
Before=docker.service docker.socket containerd.service ssh.service sshd.service
# From audit 4 on the second one loads the audit rules, in place of the first one.
Before=auditd.service audit-rules.service
ConditionPathExists=$transaction/armed
[Service]
Type=oneshot
# sshd waits for it: a card that does not answer any more must not keep it for ever.
TimeoutStartSec=300
ExecStart=/bin/sh $transaction/restore boot
[Install]
WantedBy=multi-user.target
UNIT
}
stop_containers() {
    [ -s "$state/running" ] || return 0
    : >"$state/stopped"
    # Split into words: ids.
    # shellcheck disable=SC2046
    docker stop $(cut -d ' ' -f 1 "$state/running")
}
(umask 022; mkdir -p "${transaction%/*}")
exec 9>"$transaction.lock"
begin flock -w 30 9
begin test ! -e "$transaction/armed"
ours=yes
rm -rf "$transaction"
begin mkdir -p "$transaction/old" "$state"
begin cp -p restore "$interim" "$transaction/"
begin record_daemon
[ ! -e "$state/active" ] || begin record_containers
[ -z "$keep" ] || : >"$state/hold"
