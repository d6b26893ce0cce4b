#!/bin/sh
# Runs the script $1 as root: directly if the user is root already, else by sudo, with the
# password that is the first line of standard input. The rest of standard input is the script's.
# $2 is the script sudo_discard_password.sh.
#
# The password is tested by a sudo that does nothing, before the script is run: so a wrong one
# costs one attempt, and sudo never reads the script's input as a second attempt.
# `sudo -k` ignores that a password was accepted before, so that sudo asks at the test and at the
# script alike.
#
# Prints: what the script prints. If there is no way to become root: status 125, and on the first
# line of standard error why.
# Variables:
#   no_sudo     the line that says that there is no sudo
#   no_printf   the line that says that the shell has no printf of its own
#   refuses     the line that says that sudo refuses; its message follows
#   input_mark  the line behind which the script's own input begins

# A variable that came from the environment, or that is made under allexport, would be in the
# environment of every program called; what is traced would be written to standard error.
set +a +x
unset password message
IFS= read -r password
if [ "$(id -u)" -eq 0 ]; then unset password; exec sh -c "$1"; fi
# A printf that is a program would show the password in its arguments.
case $(command -v printf) in /*) echo "$no_printf" >&2; exit 125 ;; esac
command -v sudo >/dev/null 2>&1 || { echo "$no_sudo" >&2; exit 125; }
if sudo -k -n sh -c : </dev/null >/dev/null 2>&1; then
    # It needs no password.
    unset password
    exec sudo -k -n sh -c "$1"
fi
message=$(printf '%s\n' "$password" | LC_ALL=C sudo -k -S -p '' sh -c : 2>&1) || {
    printf '%s\n' "$refuses" "$message" >&2
    exit 125
}
{
    printf '%s\n' "$password" "$input_mark"
    unset password
    exec cat
} | sudo -k -S -p '' sh -c "$2" sh "$1"
