#!/bin/sh
# Puts a change back, last part: the daemon, and what had the board put it back.
#
# Needs: provision/shell/restore.sh.
# Prints the sections trouble and proved of restore.sh, and this one:
#   restored  `well`, or `1` if something could not be put back
# Variables, beside those of restore.sh:
#   audit_key  the key of our audit rules

attempt daemon_back
# Only now: the daemon's start loads audit rules, with the unit of an earlier version those of all
# files, in place of all others.
[ ! -e "$state/audit-rules" ] || attempt_unless_boot put_audit_rules_back "$audit_key"
attempt prove
proof=
[ ! -e "$state/proved" ] || { proof=proved; section proved; }
section restored
printf '%s\n' "${bad:-well}" | quoted
echo "$id ${bad:-well} $proof" >"$ended_file"
sync
rm -f "$transaction/armed" "$jobs/$job"/[0-9]*
sync
# Only now: until the mark is gone for good, the next start has to put back.
disarm
[ "$why" = deadline ] || systemctl stop bootwright-deadline.timer 2>/dev/null
systemctl daemon-reload
if [ -z "$bad" ]; then
    rm -rf "$transaction"
else
    # The only copies of what could not be put back.
    rm -rf "$transaction.failed"
    mv "$transaction" "$transaction.failed"
fi
