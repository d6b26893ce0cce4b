#!/bin/sh
# Reports the board as a Docker host. The parser is bootwright/provision/facts.py.
#
# Starting a program costs an emulated board 50 ms and more: the shell itself reads what it can,
# and what takes long runs at the same time. Each fact is a file in a temporary folder; at the end
# the files are printed as sections, under their names.
#
# Needs: remote/shell/sections.sh, provision/shell/sshd_read.sh, root, and of hosts/shell:
# wait_until_started.sh, same_folders.sh, root_docker.sh.
# Prints these sections, then the end; a fact that is not known has none:
#   host           lines `NAME VALUE`: host name, kernel, system, mounts, tools, accounts ...
#   engine         the output of `docker info` as JSON; engine-error its message
#   units          properties of the units; failed: the units that failed
#   flags          the arguments of the Docker daemon that runs
#   relay          the statistics of the relay of logs
#   userns         how many user namespaces there may be
#   sshd           the settings of sshd; sshd-error its message; sshd-matches its Match lines
#   sshd-read      sshd has read its files as they are: we had it read them
#   file-times     when the files of sshd and of the Docker daemon, and their pid files, were changed,
#                  in seconds since 1970
#   kernel-config  the kernel's options
#   missing-modules  `known`, then modules of the packet filter that are neither built into the running
#                  kernel nor can be loaded; only without iptables, which is asked otherwise
#   packages       the packages that are installed, with their versions
#   modes          mode, owner and kind of the paths
#   audit          the rules and the state of auditd; audit-error: a message of auditctl
#   audit-receiver the name of the program that the kernel gives its audit records to
#   health-checks  lines `"Healthcheck"...CMD`, one for each container with health checks, or `...NONE`
#                  where they are switched off; after it a line `],"Interval":NANOSECONDS`, unless it
#                  has the usual one
#   audit-space    the output of df for the folder of auditd's files, and of du; only with health checks
#   no-audit-watch the kernel cannot watch files; only reported without its options
#   iptables-error the message of an iptables that does not work; only if no daemon runs
#   iptables-legacy  iptables-legacy works although iptables does not
#   clock          the time, in seconds since 1970
#   digests        the SHA-256 of the secret files
#   files          the other files, as a tar archive in base64
# Variables:
#   everything      yes: ask the engine even if it was proven and has not changed
#   pid_file        the file with the process id of the Docker daemon
#   proven_file     the file with the process of the daemon that was last proven, and its versions
#   reloaded_file   the file that is written when the daemon has read daemon.json again
#   sshd_read_file  the file that is written when sshd has read its files again
#   upgraded_file   the file with the date of the last upgrade of packages
#   begun_file      the file that is there while work on packages has begun and has not ended well
#   rebooted_file   the file with the kernel that the board was last restarted for
#   relay_control   the control socket of the relay of logs
#   transaction     the folder of a change that is not confirmed yet
#   properties      list: options of `systemctl show`
#   units           list: the units
#   kernel_options  an extended regular expression for lines of the kernel's configuration
#   packages        list: the packages
#   paths           patterns of the paths, separated by blanks; none has a blank or a quote in it
#   secret_files    list: files that only the digest is reported of
#   files           list: files that the content is reported of, without the first slash

# A subshell: its trap ends with it, before the end is reported.
(
umask 077
work=$(mktemp -d /run/bootwright.XXXXXX) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
wait_until_started
pid=
[ -r "$pid_file" ] && read -r pid <"$pid_file"
[ -n "$pid" ] && [ -d "/proc/$pid" ] || pid=
proven=
if [ -z "$everything" ] && [ -n "$pid" ] && [ -r "$proven_file" ] &&
    ! [ /etc/docker/daemon.json -nt "$proven_file" ]; then
    # The same process with the same file: to ask again takes a second and gives the same answer.
    IFS= read -r proven <"$proven_file"
    # What changes while the daemon runs is asked again: it switches forwarding on at its start.
    forward=
    [ -r /proc/sys/net/ipv4/ip_forward ] && read -r forward </proc/sys/net/ipv4/ip_forward
    [ "${proven%% *}" = "$pid" ] && [ "$forward" = 1 ] || proven=
fi
# Only if the daemon runs: systemd would start one that somebody stopped, at the first connection
# to its socket.
[ -z "$pid" ] || [ -n "$proven" ] ||
    timeout 30 docker info --format '{{json .}}' >engine 2>engine-error &
{
    eval "set -- $properties -- $units"
    systemctl show "$@" >units
    systemctl list-units --state=failed --plain --no-legend >failed
    [ ! -S "$relay_control" ] || timeout 10 syslog-ng-ctl stats --control="$relay_control" >relay
    [ -z "$pid" ] || tr '\0' '\n' <"/proc/$pid/cmdline" >flags
    # Not with read, which reads byte by byte: a second read of this file gives nothing.
    cat /proc/sys/user/max_user_namespaces >userns
    date +%s >clock
} 2>/dev/null &
# A daemon that runs has found its tables. Whether those are in the kernel, only iptables knows: a
# module may be there and not load.
[ -n "$pid" ] || ! command -v iptables >/dev/null || {
    if timeout 20 iptables -w 10 -t nat -S >/dev/null 2>iptables-error; then
        rm -f iptables-error
    else
        [ -s iptables-error ] || echo "iptables -t nat -S failed" >iptables-error
        timeout 20 iptables-legacy -w 10 -t nat -S >/dev/null 2>&1 && echo works >iptables-legacy
    fi
} &
{
    # shellcheck disable=SC2094  # sshd does not read the file sshd.
    sshd -T >sshd 2>sshd-error
    grep -ihE '^[[:space:]]*match[[:space:]]' /etc/ssh/sshd_config /etc/ssh/sshd_config.d/*.conf \
        >sshd-matches
    stat -c '%Y %n' /etc/ssh/sshd_config /etc/ssh/sshd_config.d/*.conf "$sshd_pid_file" \
        /etc/docker/daemon.json "$pid_file" >file-times 2>/dev/null
    [ -r "$sshd_read_file" ] && [ "$(sshd_state)" = "$(cat "$sshd_read_file")" ] &&
        echo yes >sshd-read
    read -r release </proc/sys/kernel/osrelease
    if [ -r "/boot/config-$release" ]; then
        grep -E "$kernel_options" "/boot/config-$release" >kernel-config
    elif [ -r /proc/config.gz ]; then
        gzip -dc /proc/config.gz | grep -E "$kernel_options" >kernel-config
    fi
    # Without iptables, only the modules tell whether it will work.
    if [ -r "/lib/modules/$release/modules.dep" ] && command -v modprobe >/dev/null &&
        ! command -v iptables >/dev/null; then
        echo known >missing-modules
        for module in nft_compat iptable_nat iptable_filter; do
            # What loads it, or that it is built in; a file of modprobe.d may forbid it.
            case $(modprobe --show-depends "$module" 2>/dev/null) in
            '' | *"install /bin/false"* | *"install /bin/true"*) echo "$module" ;;
            esac
        done >>missing-modules
    fi
    # A quote inside of a text has a backslash before it: what matches is no part of a command.
    grep -ohE '"Healthcheck":\{"Test":\["(CMD|NONE)|\],"Interval":[0-9]+' \
        /var/lib/docker/containers/*/config.v2.json \
        /var/lib/docker/[0-9]*/containers/*/config.v2.json >health-checks 2>/dev/null
    # What they record is most of it.
    [ ! -s health-checks ] ||
        { df -Pk /var/log/audit && du -sk /var/log/audit; } >audit-space 2>/dev/null
    [ -s kernel-config ] || {
        rm -f kernel-config
        # Without its options, the kernel's names of functions say whether it can watch files.
        [ -r /proc/kallsyms ] && ! grep -q -F ' audit_add_watch' /proc/kallsyms &&
            echo yes >no-audit-watch
    }
} &
fact() { printf '%s %s\n' "$1" "$2"; }
# The first line of the file $2, if there is one.
first_line() { [ -r "$2" ] && IFS= read -r value <"$2" && fact "$1" "$value"; }
{
    first_line hostname /proc/sys/kernel/hostname
    first_line kernel /proc/sys/kernel/osrelease
    first_line uptime /proc/uptime
    first_line boot /proc/sys/kernel/random/boot_id
    first_line upgraded "$upgraded_file"
    [ -e "$begun_file" ] && fact packages-begun yes
    first_line rebooted-for "$rebooted_file"
    [ -e /proc/self/ns/user ] && fact has-userns yes
    IFS= read -r line </proc/cmdline
    # By word; patterns in it find no file in this folder.
    for word in $line; do
        case $word in audit=0 | audit=[oO][fF][fF]) fact audit-off "$word" ;; esac
    done
    [ -e "$transaction/armed" ] && fact transaction armed
    system=
    while IFS='=' read -r key value; do
        case $key in
        ID | ID_LIKE | PRETTY_NAME)
            value=${value#\"}
            value=${value%\"}
            system="$system $value "
            fact "os-$key" "$value"
            ;;
        esac
    done </etc/os-release
    for folder in /lib/modules/*/; do
        folder=${folder%/}
        fact modules "${folder##*/}"
    done
    for file in /boot/vmlinuz-*; do
        [ "$file" -ef /vmlinuz ] && fact default-kernel "${file#/boot/vmlinuz-}"
    done
    same_folders
    while read -r _ _ number _ mount_point options _; do
        case $mount_point in
        / | /var/lib/docker | /var/lib/containerd)
            uuid=
            file=/sys/dev/block/$number/dm/uuid
            [ -r "$file" ] && read -r uuid <"$file"
            fact mount "$mount_point $options ${uuid:-none}"
            ;;
        esac
    done </proc/self/mountinfo
    for tool in apt-get pacman docker dockerd auditctl useradd systemctl systemd-run iptables; do
        command -v "$tool" >/dev/null && fact tool "$tool"
    done
    iptables=$(command -v iptables)
    for tables in nf_tables:nft legacy:legacy; do
        [ "$iptables" -ef "${iptables%/*}/xtables-${tables#*:}-multi" ] &&
            fact iptables "${tables%:*}"
    done
    while IFS=: read -r name _ uid _ _ _ _; do
        # Lines of NIS, such as "+", have no id.
        case $uid in '' | *[!0-9]*) ;; *) fact account "$name $uid" ;; esac
    done </etc/passwd
    while IFS=: read -r name _ gid members; do
        [ "$name" = docker ] && fact docker-group "$gid $members"
        case $gid in '' | *[!0-9]*) ;; *) fact group "$name $gid" ;; esac
    done </etc/group
    for file in /run/docker/plugins/* /etc/docker/plugins/* /usr/lib/docker/plugins/*; do
        # A socket that nobody listens at was left by a plugin that has ended.
        if [ -S "$file" ]; then
            grep -qF -e " $file" /proc/net/unix && fact plugin "$file"
        elif [ -f "$file" ]; then
            fact plugin "$file"
        fi
    done
    if [ -z "$pid" ]; then
        for folder in /var/lib/docker/containers/*/ /var/lib/docker/[0-9]*/containers/*/; do
            [ -d "$folder" ] && fact stored-container "$folder"
        done
    fi
    # daemon.json is newer than the start of the daemon, and than its last reload by us.
    [ -n "$pid" ] && [ /etc/docker/daemon.json -nt "$pid_file" ] &&
        { [ ! -e "$reloaded_file" ] || [ /etc/docker/daemon.json -nt "$reloaded_file" ]; } &&
        fact unread daemon.json
    [ -n "$pid" ] && fact engine-runs yes
    if [ -n "$proven" ]; then
        while IFS= read -r line; do
            case $line in "$proven") fact proven "$line" ;; *) fact proven-warning "$line" ;; esac
        done <"$proven_file"
    fi
    [ "$(id -u)" -eq 0 ] || fact not-root yes
} >host 2>/dev/null
# By the system, not by the tool: each tool can be installed on the other system.
eval "set -- $packages"
case $system in
*" arch "* | *" archarm "*) pacman -Q "$@" >packages ;;
*) dpkg-query -W -f '${db:Status-Abbrev} ${Package} ${Version}\n' "$@" >packages ;;
esac 2>/dev/null
# shellcheck disable=SC2086  # They are patterns.
stat -c '%a %U:%G %u:%g %F|%n' $paths >modes 2>/dev/null
if command -v auditctl >/dev/null; then
    { auditctl -l && auditctl -s; } >audit 2>audit-error
    while read -r name value; do
        [ "$name" = pid ] && [ -r "/proc/$value/comm" ] &&
            IFS= read -r name <"/proc/$value/comm" && echo "$name" >audit-receiver
    done <audit
fi
eval "set -- $secret_files"
[ "$#" -eq 0 ] || sha256sum -- "$@" >digests 2>/dev/null
eval "set -- $files"
tar -C / -cf - "$@" 2>/dev/null | base64 >files
wait
# shellcheck disable=SC2035  # Their names are those of the sections.
awk 'FNR == 1 { print "\n== " FILENAME } { print "|" $0 }' *
)
section end
