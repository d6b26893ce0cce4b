#!/bin/sh
# Shared functions: what the steps of a change do to a board, for the scripts that apply a change
# and put it back. The names and arguments are written by bootwright/provision/transaction.py,
# steps.py and actions.py.
#
# Needs: provision/shell/docker.sh, and root.
# Prints: nothing by itself; the functions print messages for an error.
# Variables: none.

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
