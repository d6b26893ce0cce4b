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
# Prints those of the kernel's audit rules that are ours: with our key, or of our former file, which
# in earlier versions had another key. auditctl lists a rule without system calls with -S.
# $1: a file with the rules, as `auditctl -l` lists them; $2: our key.
our_audit_rules() {
    sed 's/ -S [^ ]*//' "$1" >"$transaction/audit-listed"
    grep -e " -k $2\$" -e " -F key=$2\$" "$transaction/audit-listed"
    grep -xF -f "$state/audit-former" "$transaction/audit-listed"
}
# The kernel has none of our audit rules. `auditctl -D -k` would also delete the rules of others
# with a key that ours is a part of. The line "-i" ignores errors: a rule may be printed twice.
# $1: our key.
delete_audit_rules() {
    auditctl -l >"$transaction/audit-now" || return
    {
        echo -i
        our_audit_rules "$transaction/audit-now" "$1" | sed 's/^-w /-W /; s/^-a /-d /'
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
    delete_audit_rules "$1" || return
    { echo -i; our_audit_rules "$state/audit-rules" "$1"; } >"$transaction/audit.rules"
    auditctl -R "$transaction/audit.rules" >/dev/null || return
    auditctl -l >"$transaction/audit-now" || return
    lost=$(grep -vx -e 'No rules' "$state/audit-rules" | grep -vxF -f "$transaction/audit-now")
    more=$(grep -e " -k $1\$" -e " -F key=$1\$" "$transaction/audit-now" |
        grep -vxF -f "$state/audit-rules")
    [ -z "$lost$more" ] || {
        printf '%s\n' "audit rules that the kernel had and lacks now:" "${lost:-none}" \
            "audit rules of this change that it still has:" "${more:-none}"
        return 1
    }
}
