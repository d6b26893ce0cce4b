#!/bin/sh
# Shared functions: the state of the board's encrypted volume. `is_open` tells whether the volume
# is open, and sets $dm to its folder in sysfs; `report_volume` reports everything. The parser is
# bootwright/volume/facts.py.
#
# Needs: remote/shell/sections.sh, and root.
# Prints (report_volume) these sections; those without content may be missing:
#   host          the host name; kernel release and machine; when it booted, in seconds since
#                 1970; the content of /proc/uptime
#   missing       the tools that are needed and not there
#   crypttab      the four fields of the volume's entry, a line each
#   device        the path of the device that the entry names, without symbolic links
#   header        the UUID in the LUKS header, and the header as JSON
#   header-error  what cryptsetup says of a header that it does not accept
#   mapping       of the open volume: device number, UUID of the device mapper
#   mounts        lines of /proc/self/mountinfo
#   use           the output of df for the mount point
#   units         properties of the units
#   question      a program's question for a passphrase, as systemd's file has it; one each
# Variables:
#   volume    the volume's name in crypttab
#   mount     where it is mounted
#   binds     list: the folders that are bind-mounted from it
#   units     list: the units that open, mount and use it
#   crypttab  the path of crypttab
#   ask       the folder of the questions for passphrases

is_open() {
    for dm in /sys/block/dm-*; do
        [ -r "$dm/dm/name" ] || continue
        read -r name <"$dm/dm/name"
        [ "$name" = "$volume" ] && return 0
    done
    return 1
}
report_volume() {
    section host
    { uname -n; uname -rm; sed -n 's/^btime //p' /proc/stat; cat /proc/uptime; } | quoted
    section missing
    for tool in cryptsetup systemctl; do
        command -v "$tool" >/dev/null || echo "$tool"
    done | quoted
    device=
    if [ -r "$crypttab" ]; then
        while read -r name source key options rest || [ -n "$name" ]; do
            [ "$name" = "$volume" ] || continue
            section crypttab
            printf '%s\n' "$name" "$source" "$key" "$options" | quoted
            value=${source#*=}
            value=${value#\"}
            value=${value%\"}
            case $source in
            UUID=*) device=/dev/disk/by-uuid/$value ;;
            PARTUUID=*) device=/dev/disk/by-partuuid/$value ;;
            LABEL=*) device=/dev/disk/by-label/$value ;;
            PARTLABEL=*) device=/dev/disk/by-partlabel/$value ;;
            *) device=$source ;;
            esac
            break
        done <"$crypttab"
    fi
    if [ -n "$device" ] && [ -e "$device" ]; then
        section device
        readlink -f -- "$device" | quoted
        if dump=$(cryptsetup luksDump --dump-json-metadata "$device" 2>/dev/null); then
            section header
            { cryptsetup luksUUID "$device"; printf '%s\n' "$dump"; } 2>&1 | quoted
        else
            section header-error
            cryptsetup luksDump "$device" 2>&1 >/dev/null | quoted
        fi
    fi
    if is_open; then
        section mapping
        cat "$dm/dev" "$dm/dm/uuid" | quoted
    fi
    section mounts
    eval "set -- $binds"
    for path in "$mount" "$@"; do
        grep -F -e " $path " /proc/self/mountinfo
    done | quoted
    section use
    df -Pk -- "$mount" 2>/dev/null | quoted
    section units
    eval "set -- $units"
    systemctl show -p Id -p LoadState -p ActiveState -p SubState -- "$@" 2>/dev/null | quoted
    for file in "$ask"/ask.*; do
        [ -r "$file" ] || continue
        # A question is left behind by a program that was killed.
        pid=$(sed -n 's/^PID=\([0-9][0-9]*\)$/\1/p' "$file" 2>/dev/null | head -n 1)
        [ -n "$pid" ] && [ -d "/proc/$pid" ] || continue
        section question
        quoted <"$file"
    done
}
