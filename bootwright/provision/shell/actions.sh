#!/bin/sh
# Shared functions: what the steps of a change do to a board, for the scripts that apply a change
# and put it back. The names and arguments are written by bootwright/provision/transaction.py,
# steps.py and actions.py.
#
# Needs: provision/shell/docker.sh, and root.
# Prints: nothing by itself; the functions print messages for an error.
# Variables: those of docker.sh.

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
# Debian calls the unit ssh, Arch Linux sshd.
reload_sshd() { systemctl reload ssh.service || systemctl reload sshd.service; }
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
# The kernel uses our audit rules in place of those with our key that it has. All of them have to be
# loaded, so without the line "-i" of the file, which ignores errors.
# $1: the file of our rules; $2: their key.
load_audit_rules() {
    auditctl -D -k "$2" >/dev/null &&
        grep -vx -e -i "$1" >"$transaction/audit.rules" &&
        auditctl -R "$transaction/audit.rules"
}
# The kernel has our former audit rules again, and has lost none of others.
# $1: the file of our rules, if there was one; $2: their key.
put_audit_rules_back() {
    auditctl -D -k "$2" >/dev/null || return
    # Its status does not count: a former file may have rules without the key, which are loaded.
    [ ! -e "$1" ] || auditctl -R "$1" >/dev/null 2>&1
    auditctl -l >"$transaction/audit-now" || return
    lost=$(grep -vx -e 'No rules' "$state/audit-rules" | grep -vxF -f "$transaction/audit-now")
    more=$(grep -F -e "$2" "$transaction/audit-now" | grep -vxF -f "$state/audit-rules")
    [ -z "$lost$more" ] || {
        printf '%s\n' "audit rules that the kernel had and lacks now:" "${lost:-none}" \
            "audit rules of this change that it still has:" "${more:-none}"
        return 1
    }
}
