#!/bin/sh
# Shared functions: the kernel keeps the audit rules that it has, whatever a start of auditd does.
#
# Prints: nothing by itself; the functions print messages for an error.
# Variables:
#   transaction  a folder for files that are needed for a moment; state/audit-former in it is the
#                former file of our audit rules, if there is one

# Prints audit rules of a list by auditctl in a form by which the same rules are loaded. The list has
# "-w FOLDER" for a folder with all below it, and also for a folder alone (-F path=), which only the
# files of the rules tell apart.
loadable_audit_rules() {
    while IFS= read -r rule; do
        path=${rule#-w }
        path=${path%% -p *}
        rest=${rule#*" -p "}
        case $rule in
        "-w "*" -p "*)
            # auditctl before 3 has a "/" after a folder with all below it.
            rule="-w ${path%/} -p $rest"
            alone=" -F path=$path -F perm=${rest%% *}"
            if [ -d "$path" ] && grep -qsF -e "$alone" "$transaction/state/audit-former" \
                /etc/audit/rules.d/*.rules /etc/audit/audit.rules; then
                rule="-a always,exit$alone"
                case $rest in *" -k "*) rule="$rule -F key=${rest#* -k }" ;; esac
            fi
            ;;
        esac
        printf '%s\n' "$rule"
    done
}
# Prints the audit rules of the list $1 that the kernel does not have.
lost_audit_rules() {
    auditctl -l >"$transaction/audit-now" || return
    # grep ends with 1 if it prints nothing.
    { grep -vx -e 'No rules' "$1" || [ "$?" -eq 1 ]; } >"$transaction/audit-listed" || return
    grep -vxF -f "$transaction/audit-now" "$transaction/audit-listed" || [ "$?" -eq 1 ]
}
# The kernel has all audit rules of the list $1: those that it has lost are loaded again.
keep_audit_rules() {
    lost=$(lost_audit_rules "$1") || return
    [ -n "$lost" ] || return 0
    { echo -i; printf '%s\n' "$lost" | loadable_audit_rules; } >"$transaction/audit.rules"
    auditctl -R "$transaction/audit.rules" >/dev/null
    lost=$(lost_audit_rules "$1") || return
    [ -z "$lost" ] || {
        printf '%s\n' "audit rules that the kernel had and lacks now:" "$lost"
        return 1
    }
}
