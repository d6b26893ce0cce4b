#!/bin/sh
# Shared functions of the jobs that install packages and bring them up to date; each may be run
# again at any time, also after an interruption.
#
# Needs: remote/shell/sections.sh, remote/shell/job_progress.sh,
# provision/shell/keep_audit_rules.sh, and root. The job defines
# is_locked: whether $message says that another process has the lock of the packages, one of the
# files $locks (split into words).
# Prints one of these:
#   failed   what was tried, and the last lines of its output; the job ends with 1
#   missing  (record_end) the sources whose lists of packages could not be fetched
#   warning  (record_end) what the operator should know, a sentence each
# Variables:
#   needed_mib     MiB that have to be free on / before anything is begun
#   packages       list: the packages to install
#   upgraded_file  the file with the date of the last upgrade of packages
#   begun_file     the file that is there while a job has begun and has not ended well
#   rules_file     the file with the audit rules that the kernel had before packages were changed
#   lock_s         seconds to wait for other processes that work on packages, all in all

warnings=
waited=0
warn() { warnings="$warnings$1
"; }
# Records the audit rules that the kernel has. The package of auditd restarts it when it is upgraded,
# which replaces all rules by those of /etc/audit/rules.d. A run that goes on with what another one has
# begun keeps the list of that one.
record_rules() {
    [ ! -e "$rules_file" ] && command -v auditctl >/dev/null || return 0
    auditctl -l >"$rules_file" 2>/dev/null || rm -f "$rules_file"
}
# Loads those again that were lost; sets $lost_rules to a message if that is not possible.
keep_rules() {
    lost_rules=
    [ -e "$rules_file" ] || return 0
    if lost_rules=$(keep_audit_rules "$rules_file" 2>&1); then
        # Only remarks of auditctl.
        lost_rules=
    else
        lost_rules=$(printf '%s\n' "$lost_rules" | paste -s -d ' ')
    fi
    rm -f "$rules_file"
}
stop() {
    keep_rules
    message="$message${lost_rules:+
$lost_rules}"
    section failed
    printf '%s\n' "$1" "$message" | quoted
    exit 1
}
# Prints which processes have one of the files "$@" open, such as "apt-get (process 812)".
holders() {
    own=$(stat -c %d:%i "$@" 2>/dev/null)
    for file; do
        shift
        set -- "$@" -o -lname "$file"
    done
    find /proc/[0-9]*/fd -false "$@" 2>/dev/null | while read -r link; do
        # The same path in a container is another file.
        case $own in *"$(stat -L -c %d:%i "$link" || echo gone)"*) ;; *) continue ;; esac
        process=${link#/proc/}
        process=${process%%/*}
        name=$(tr -cd '[:print:]' <"/proc/$process/comm") && echo "$name (process $process)"
    done 2>/dev/null | sort -u | paste -s -d, | sed 's/,/, /g'
}
# Waits a while for the process that has the lock; the job ends if that takes too long.
wait_for_lock() {
    # Split into words: names of files.
    # shellcheck disable=SC2086
    who=$(holders $locks)
    who=${who:-another process}
    if [ "$waited" -ge "$lock_s" ]; then
        message="$who works on packages, and has not ended in $lock_s s
$message"
        stop "$purpose"
    fi
    progress "$purpose: wait for $who, which works on packages"
    sleep 5
    waited=$((waited + 5))
}
# Records the progress $1 and runs the command behind it; waits for others that work on packages.
# Sets $message to what it wrote, and ends as it did.
attempt() {
    purpose=$1
    shift
    progress "$purpose"
    until message=$("$@" 2>&1 </dev/null); do
        is_locked || return 1
        wait_for_lock
    done
}
# Ends the job with the last lines of what the last attempt wrote.
give_up() {
    message=$(printf '%s\n' "$message" | tail -n 15)
    stop "$purpose"
}
# Like attempt; the job ends if the command fails.
try() { attempt "$@" || give_up; }
# The job ends if there is too little space. What was begun has used some of it already.
check_space() {
    [ ! -e "$begun_file" ] || needed_mib=$((needed_mib / 4))
    free=$(df -Pk / | awk 'NR == 2 { print int($4 / 1024) }')
    message="$free MiB are free on /, and $needed_mib are needed"
    [ "$free" -ge "$needed_mib" ] || stop "look for space"
    mkdir -p "${begun_file%/*}"
}
# From now on packages are changed: the next run finishes it. Not before the lists are fetched: on a
# board without a network, every later run would fail.
mark_begun() { : >"$begun_file"; }
# Records the date and the sources that are missing, $1, a line each.
record_end() {
    printf '%s %s\n' "$(date -u +%Y-%m-%d)" "$(printf '%s' "$1" | paste -s -d, | sed 's/,/, /g')" \
        >"$upgraded_file.new"
    mv -f "$upgraded_file.new" "$upgraded_file"
    rm -f "$begun_file"
    keep_rules
    [ -z "$lost_rules" ] || warn "$lost_rules"
    section missing
    printf '%s\n' "$1" | quoted
    section warning
    printf '%s' "$warnings" | quoted
}
