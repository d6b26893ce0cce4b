#!/bin/sh
# Answers a program that asks for the volume's passphrase by the one on standard input, and waits
# for what comes of it: the volume is open, the program asks again, or it has ended. The protocol
# is systemd's "Password Agents"; systemd's own helper is used for it.
#
# Needs: volume/shell/start_units.sh.
# Prints, and after it the sections of start_units_and_report if the volume is open, and the end:
#   answer  the exit status of the helper; opened, asks-again or gone; the helper's message
# Variables:
#   question_pid     the process that asks
#   question_socket  the socket that it reads the answer from

reply=/usr/lib/systemd/systemd-reply-password
[ -x "$reply" ] || reply=/lib/systemd/systemd-reply-password
# A question of the same process with another socket: the first answer was wrong.
asks_again() {
    for file in "$ask"/ask.*; do
        grep -qxF -e "PID=$question_pid" "$file" 2>/dev/null &&
            ! grep -qxF -e "Socket=$question_socket" "$file" && return
    done
    return 1
}
message=$("$reply" 1 "$question_socket" 2>&1)
status=$?
outcome=
count=0
if [ "$status" -eq 0 ]; then
    # 300 s at most: deriving the key takes seconds, on a slow board a minute.
    while [ -d "/proc/$question_pid" ] && [ "$count" -lt 1500 ] && ! asks_again; do
        count=$((count + 1))
        sleep 0.2 2>/dev/null || sleep 1
    done
    if is_open; then
        outcome=opened
    elif asks_again; then
        outcome=asks-again
    else
        outcome=gone
    fi
fi
section answer
printf '%s\n' "$status" "$outcome" "$message" | quoted
[ "$outcome" = opened ] && start_units_and_report
section end
