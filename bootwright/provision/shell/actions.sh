#!/bin/sh
# Shared functions: what the steps of a change do to a board, for the scripts that apply a change
# and put it back. The names and arguments are written by bootwright/provision/transaction.py,
# steps.py and actions.py.
#
# Needs: provision/shell/docker.sh, provision/shell/keep_audit_rules.sh,
# provision/shell/sshd_read.sh, and root.
# Prints: nothing by itself; the functions print messages for an error.
# Variables, beside those of docker.sh and sshd_read.sh:
#   sshd_read_file  the file that is written when sshd has read its files again

# $1: a file of the job; $2: where it is installed.
install_file() {
    # Folders that are made for it are for everybody to enter.
    (umask 022; mkdir -p "${2%/*}/") && put "$1" "$2"
}
# $1: a folder; $2: its mode; $3: its owner.
make_directory() { mkdir -p "$1" && chmod "$2" "$1" && chown "$3" "$1"; }
# $1: a path; $2: its mode; $3: its owner, who comes first: a change of owner clears the setuid bit.
set_mode() { chown -h "$3" "$1" && chmod "$2" "$1"; }
# Of the running kernel; not every board has a hostname(1).
set_hostname() { printf %s "$1" >/proc/sys/kernel/hostname; }
# Debian calls the unit ssh, Arch Linux sshd. The reload only sends a signal: sshd has read its files
# when it has written another pid file.
reload_sshd() {
    # Where systemd starts an sshd for each connection, it reads its files then.
    systemctl is-active --quiet ssh.service sshd.service ||
        ! systemctl is-active --quiet ssh.socket sshd.socket || return 0
    former=$(sshd_process)
    rm -f "$sshd_read_file"
    systemctl reload ssh.service || systemctl reload sshd.service || return
    count=0
    while
        process=$(sshd_process)
        [ -n "$former" ] && { [ -z "$process" ] || [ "$process" = "$former" ]; }
    do
        count=$((count + 1))
        if [ "$count" -ge 40 ]; then
            # Its new configuration may name another pid file.
            [ -z "$process" ] && systemctl is-active --quiet ssh.service sshd.service && break
            echo "sshd does not read its files again"
            return 1
        fi
        sleep 0.25 2>/dev/null || sleep 1
    done
    sshd_state >"$sshd_read_file"
}
# $1: the relay's service if it is to run with its new files, or empty; then: units to start.
start_relay() {
    service=$1
    shift
    [ "$#" -eq 0 ] || systemctl start "$@" || return
    [ -z "$service" ] || systemctl restart "$service"
}
# The units of the relay run with their former files again; units that had no file stay stopped.
# $1: the file of the relay's service; then: the units.
put_relay_back() {
    file=$1
    shift
    # systemd refuses to stop a unit that it never loaded: no failure here.
    systemctl stop "$@"
    systemctl daemon-reload
    [ ! -e "$file" ] || systemctl start "$@"
}
# Audit rules as `auditctl -l` lists them, or as our file has them, each in its form with -a: the
# list has -w for both forms (auditctl before 3 with a "/" after a folder that is watched with all
# below it), and -S in a rule for which no system calls were given.
long_audit_rules() {
    sed -e 's/ -S [^ ]*//' \
        -e 's|^-w \(.*\)/ -p \(.*\) -k |-a always,exit -F dir=\1 -F perm=\2 -F key=|' \
        -e 's|^-w \(.*\) -p \(.*\) -k |-a always,exit -F path=\1 -F perm=\2 -F key=|' "$1"
}
# Prints those of the kernel's audit rules that are ours, in the form with -a: with our key, or of
# our former file, which in earlier versions had another key.
# $1: a file with the list of the rules; $2: our key.
our_audit_rules() {
    long_audit_rules "$1" >"$transaction/audit-long"
    grep -e " -F key=$2\$" "$transaction/audit-long"
    # A rule -w for a folder watches all below it.
    long_audit_rules "$state/audit-former" | sed 'p; s/ -F path=/ -F dir=/' |
        grep -e '^-a ' | grep -v -e " -F key=$2\$" >"$transaction/audit-others"
    grep -xF -f "$transaction/audit-others" "$transaction/audit-long"
}
# The kernel has none of our audit rules. `auditctl -D -k` would also delete the rules of others
# with a key that ours is a part of. Each rule is deleted in both forms, since auditctl from 4 on
# may load them differently; the line "-i" ignores that one of them fails.
# $1: our key.
delete_audit_rules() {
    auditctl -l >"$transaction/audit-now" || return
    {
        echo -i
        our_audit_rules "$transaction/audit-now" "$1" | sed -n 'h; s/^-a /-d /p; g
            s|^-a always,exit -F [a-z]*=\(.*\) -F perm=\(.*\) -F key=|-W \1 -p \2 -k |p'
    } >"$transaction/audit.rules"
    auditctl -R "$transaction/audit.rules" >/dev/null
}
# The kernel uses our audit rules in place of those that it has of us. All of them have to be
# loaded, so without the line "-i" of the file, which ignores errors.
# $1: the file of our rules; $2: their key.
load_audit_rules() {
    delete_audit_rules "$2" &&
        grep -vx -e -i "$1" >"$transaction/audit.rules" &&
        auditctl -R "$transaction/audit.rules"
}
# The kernel has those of our audit rules that it had, and has lost none of others.
# $1: our key.
put_audit_rules_back() {
    auditctl -l >"$transaction/audit-now" || return
    cmp -s "$transaction/audit-now" "$state/audit-rules" && return
    delete_audit_rules "$1" || return
    keep_audit_rules "$state/audit-rules" || return
    auditctl -l >"$transaction/audit-now" || return
    more=$(grep -e " -k $1\$" -e " -F key=$1\$" "$transaction/audit-now" |
        grep -vxF -f "$state/audit-rules")
    [ -z "$more" ] || {
        printf '%s\n' "audit rules of this change that the kernel still has:" "$more"
        return 1
    }
}
# auditd runs, now and from every boot on. Its start replaces all rules of the kernel by those of
# /etc/audit/rules.d (augenrules), also those that another program has loaded without a file.
start_auditd() {
    auditctl -l >"$transaction/audit-kept" || return
    systemctl enable --now auditd.service || return
    # From audit 4 on this unit loads the rules, maybe at the same time: it has to have ended.
    systemctl start audit-rules.service 2>/dev/null || :
    keep_audit_rules "$transaction/audit-kept"
}
# auditd has read its configuration again. Its report of its state shows the size of a file, in "KB" or,
# from audit 4.1 on, in "KiB"; the report has another place from audit 4.1.1 on.
# $1: the configuration.
reload_auditd() {
    systemctl is-active --quiet auditd.service || return 0
    size=$(sed -n 's/^[[:space:]]*max_log_file[[:space:]]*=[[:space:]]*\([0-9]*\).*/\1/Ip' "$1" |
        tail -n 1)
    systemctl kill --kill-who=main --signal=HUP auditd.service || return
    count=0
    until
        systemctl kill --kill-who=main --signal=CONT auditd.service
        sleep 0.25 2>/dev/null || sleep 1
        state_report=$(cat /run/auditd.state /run/audit/auditd.state 2>/dev/null)
        printf '%s\n' "$state_report" | grep -qxE -e "max log size = $((${size:-0} * 1024)) Ki?B"
    do
        count=$((count + 1))
        [ "$count" -lt 40 ] && continue
        # One that reports no size has got the signal, and more cannot be known: an old auditd, or one
        # with "write_logs = no".
        printf '%s\n' "$state_report" | grep -q '^max log size = ' || return 0
        echo "auditd does not read $1 again: see journalctl -u auditd"
        return 1
    done
}
# systemd does not stop auditd (RefuseManualStop=yes), but sends it the signal by which it ends.
stop_auditd() {
    systemctl is-active --quiet auditd.service || return 0
    systemctl kill --signal=TERM auditd.service || return
    count=0
    while systemctl is-active --quiet auditd.service; do
        count=$((count + 1))
        [ "$count" -lt 40 ] || { echo "auditd does not end"; return 1; }
        sleep 0.25 2>/dev/null || sleep 1
    done
}
