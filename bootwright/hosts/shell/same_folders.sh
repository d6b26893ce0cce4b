#!/bin/sh
# Shared function: `same_folders` reports which folders are the same one by two names. The kernel's
# audit watches the file that a path leads to, whatever name the rule has for its folder.
#
# Prints: lines `same NAME OTHER`, the second of which is not a link itself.
# Variables: none.

same_folders() {
    for pair in "/bin /usr/bin" "/lib /usr/lib" "/sbin /usr/sbin" "/sbin /usr/bin" \
        "/usr/sbin /usr/bin" "/var/run /run" "/var/lock /run/lock"; do
        [ "${pair% *}" -ef "${pair#* }" ] && echo "same $pair"
    done
}
