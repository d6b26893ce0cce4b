#!/bin/sh
# Runs the script $1 as root: directly if the user is root already, else by sudo, which must not
# ask for a password.
#
# Prints: what the script prints. If there is no way to become root: status 125, and on the first
# line of standard error why.
# Variables:
#   no_sudo  the line that says that there is no sudo
#   asks     the line that says that sudo asks for a password

if [ "$(id -u)" -eq 0 ]; then exec sh -c "$1"; fi
command -v sudo >/dev/null 2>&1 || { echo "$no_sudo" >&2; exit 125; }
sudo -n sh -c : </dev/null >/dev/null 2>&1 || { echo "$asks" >&2; exit 125; }
exec sudo -n sh -c "$1"
