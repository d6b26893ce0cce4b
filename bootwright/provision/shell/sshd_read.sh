#!/bin/sh
# Shared function: prints what changes when sshd reads its files again (its pid file), and when the
# files change.
#
# Source: sshd(8); sshd.c of OpenSSH, sighup_restart: it removes its pid file and writes another one.
#
# Prints: nothing by itself.
# Variables:
#   sshd_pid_file  the file with the process id of sshd

sshd_process() { stat -c '%i %y' "$sshd_pid_file" 2>/dev/null; }
sshd_state() {
    sshd_process
    cat /etc/ssh/sshd_config /etc/ssh/sshd_config.d/*.conf 2>/dev/null | sha256sum
}
