#!/bin/sh
# Reports the facts about the board for an audit. The parser is bootwright/audit/facts.py.
#
# On an emulated board, starting a program takes 50 ms or more, and the docker command 500 ms. So
# independent parts run at the same time, and all containers, and all images, are inspected by one
# call each. Each fact is a file in a temporary folder; at the end the files are printed as
# sections, under their names; long ones are compressed.
#
# No secret of a container leaves the board: no environment, no labels, no command lines, and of an
# image's history only how many instructions of two kinds there are. Tokens and passwords in the
# settings of the daemon are masked on the board.
#
# Needs: remote/shell/sections.sh, root, and of hosts/shell: wait_until_started.sh, same_folders.sh,
# root_docker.sh.
# Prints these sections, then the section end. If a program failed, there is a section NAME-error
# with its message. A compressed section is called NAME.gz:
#   host             lines `NAME VALUE`: host name, kernel, system, mounts, tools, the engine ...
#   daemon-json      the daemon's settings file; flags: its arguments, a line each
#   units            properties of the units
#   info             the output of `docker info` as JSON
#   containers       a line of JSON for each container; images, networks: likewise
#   privileges       for each container, whether it may gain privileges: id, true or false
#   links            sources of mounts: path, `|`, the path without symbolic links
#   parents          the ids of images that are the parent of another one
#   history          for each image: id, how many ADD, how many updates of packages without install
#   volumes          the volumes that are bind mounts: name, path on the host
#   sshd-containers  the ids of containers in which sshd runs
#   listening        the listening TCP sockets
#   audit            the rules and the state of auditd
#   modes            mode, owner and kind of the paths; acls: those that have an access list
#   tls              mode, owner and kind of the daemon's certificates, with the key that names each
# Variables:
#   daemon_json       the usual path of the daemon's settings
#   wait_seconds      the most seconds that one call of docker may take
#   max_bytes         the most bytes of a fact
#   container_format  Go template of docker for a container; image_format, network_format: likewise
#   properties        list: options of `systemctl show`
#   units             list: the units
#   paths             shell patterns of paths, separated by blanks; without blanks and quotes
#   compressed        list: the sections that are compressed

# A subshell: its traps are executed before the section end is printed.
(
umask 077
work=$(mktemp -d /run/bootwright.XXXXXX) || exit 1
trap 'rm -rf "$work"' EXIT
# Without this, a shell that is ended by a signal would not remove the folder.
trap 'exit 1' HUP INT TERM PIPE
cd "$work" || exit 1
# Limits the size of each file (in units of 512 bytes), so that docker's output cannot fill /run,
# which is in memory.
ulimit -f $((max_bytes / 512))
wait_until_started
fact() { printf '%s %s\n' "$1" "$2"; }
docker_in_time() { timeout -k 5 "$wait_seconds" docker "$@"; }
# Removes the incomplete fact $1 and writes the reason to $1-error. $2 is the exit status of the
# program that should have written it.
give_up() {
    # 137: timeout has killed a docker that did not end; xargs then exits with 125.
    if [ -e "$1" ] && [ "$(wc -c <"$1")" -ge "$max_bytes" ]; then
        echo "the answer is too long" >"$1-error"
    elif [ ! -s "$1-error" ] || [ "$2" -eq 125 ] || [ "$2" -eq 137 ]; then
        echo "no answer within $wait_seconds s" >"$1-error"
    fi
    rm -f "$1" "$1.ids"
}
# Writes the ids of all $1 (containers or images) to $1.ids. They are the names in the engine's
# folder $2, so docker need not be started. An engine that stores its images with containerd has no
# such folder; then docker lists an image once for each tag.
list_ids() {
    if [ -d "$2" ]; then
        # shellcheck disable=SC2012  # The names are hexadecimal.
        ls "$2" >"$1.ids" 2>"$1-error"
    else
        docker_in_time "${1%s}" ls --all --quiet --no-trunc >"$1.ids" 2>"$1-error" &&
            sort -u -o "$1.ids" "$1.ids"
    fi || { give_up "$1" $? && false; }
}
# Reads lines `ID:` and `ID:INSTRUCTION` and prints for each image how many ADD there are, and how
# many updates of the list of packages without an installation. The oldest instruction is not
# counted, as in docker-bench-security: it is an ADD in each base image.
count_instructions() {
    awk '{
        id = substr($0, 1, index($0, ":") - 1)
        if (!(id in add)) { add[id] = update[id] = 0; next }
        if (!(id in base)) { base[id] = 1; next }
        if ($0 ~ /(#\(nop\) +|"created_by":")ADD /) add[id]++
        if ($0 ~ /(apt-get|apt|apk|yum|dnf|microdnf|zypper|pacman)( -[^ ]+)* (update|refresh)/ &&
            $0 !~ /(install|upgrade|apk( -[^ ]+)* add|-S[a-z]*u)/) update[id]++
    } END { for (id in add) print id, add[id], update[id] }'
}
# Inspects the $1, such as containers, whose ids are in $1.ids, with the Go template $2.
inspect() {
    xargs -r timeout -k 5 "$wait_seconds" docker "${1%s}" inspect --format "$2" \
        <"$1.ids" >"$1" 2>"$1-error"
    status=$?
    # Objects that were removed in the meantime are not missing. "no such file" is not in this
    # pattern: that is about the engine's socket.
    gone='no such (container|image|network|object)|network .* not found'
    answered=$(($(wc -l <"$1") + $(grep -ciE "$gone" "$1-error")))
    if [ "$answered" -ge "$(wc -l <"$1.ids")" ]; then
        rm -f "$1-error" "$1.ids"
    else
        give_up "$1" "$status"
    fi
}
# Selects the Docker daemon: that of docker.service, else root's daemon with the lowest process id. A
# daemon of another user is used only if root has none: any user may run a program called dockerd.
pid='' owner='' users='' daemons=0
main=$(systemctl show --property=MainPID --value docker.service 2>/dev/null)
for file in /proc/[0-9]*/comm; do
    [ -r "$file" ] && IFS= read -r name <"$file" && [ "$name" = dockerd ] || continue
    folder=${file%/comm}
    # Skip one in a container, and one that has ended in the meantime, which has no command line.
    [ "$folder/ns/pid" -ef /proc/self/ns/pid ] && [ -n "$(tr -d '\0' <"$folder/cmdline")" ] ||
        continue
    found=${folder#/proc/}
    uid=
    while read -r name uid _; do [ "$name" = Uid: ] && break; done <"$folder/status"
    if [ "$uid" != 0 ]; then
        [ -n "$users" ] && [ "$found" -gt "${users% *}" ] || users="$found $uid"
        continue
    fi
    daemons=$((daemons + 1))
    owner=0
    if [ "$found" = "$main" ] || [ -z "$pid" ]; then
        pid=$found
    elif [ "$pid" != "$main" ] && [ "$found" -lt "$pid" ]; then
        pid=$found
    fi
done 2>/dev/null
[ -n "$pid" ] || [ -z "$users" ] || { pid=${users% *} owner=${users#* }; }
# Its command line and its settings have its socket, if that is not the usual one of root_docker.sh.
named=
settings=$daemon_json
if [ -n "$pid" ]; then
    tr '\0' '\n' <"/proc/$pid/cmdline" >flags
    if [ "$owner" -ne 0 ]; then
        DOCKER_HOST=unix:///run/user/$owner/docker.sock
        while IFS=: read -r _ _ uid _ _ home _; do
            [ "$uid" = "$owner" ] && settings=$home/.config/docker/daemon.json
        done </etc/passwd
    fi
    previous=
    while IFS= read -r word; do
        case $previous$word in
        --config-file=*) named=${word#*=} ;;
        --config-file*) [ -z "$previous" ] || named=$word ;;
        esac
        case $word in
        unix://* | -H*unix://* | --host=unix://*) DOCKER_HOST=unix://${word#*unix://} ;;
        esac
        previous=
        [ "$word" = --config-file ] && previous=$word
    done <flags
    case $named in
    '') ;;
    /*) settings=$named ;;
    *) settings=/proc/$pid/cwd/$named ;;
    esac
fi 2>/dev/null
# Only a regular file: reading a pipe might never end.
[ -f "$settings" ] && { timeout 5 cat "$settings" >daemon-json || rm -f daemon-json; }
if [ -r daemon-json ] && ! grep -q '"fd://' daemon-json; then
    address=$(grep -o '"unix://[^"]*"' daemon-json | head -n 1)
    [ -z "$address" ] || DOCKER_HOST=$(printf '%s' "$address" | tr -d '"')
fi 2>/dev/null
# Only if a daemon runs: at a connection to its socket, systemd would start a stopped daemon.
if [ -n "$pid" ] && command -v docker >/dev/null; then
    {
        # shellcheck disable=SC2094  # "docker info" does not read the file info.
        if docker_in_time info --format '{{json .}}' >info 2>info-error && [ -s info ]; then
            rm -f info-error
            root=$(grep -o '"DockerRootDir":"[^"]*"' info | cut -d '"' -f 4)
            driver=$(grep -o '"Driver":"[^"]*"' info | head -n 1 | cut -d '"' -f 4)
            images=$root/image/$driver/imagedb/content/sha256
            {
                list_ids containers "$root/containers" && inspect containers "$container_format"
                # The sources of mounts without symbolic links.
                grep -oh '"Source":"/[^"\\]*"' containers | cut -d '"' -f 4 | sort -u >sources
                # shellcheck disable=SC2094  # "-" is the standard input of paste.
                tr '\n' '\0' <sources | xargs -0 -r readlink -m -- | paste -d '|' sources - >links
                rm -f sources
            } &
            # The option at the creation of each container; "docker inspect" shows the daemon's current
            # default.
            grep -oHE '"NoNewPrivileges":(true|false)' "$root"/containers/*/config.v2.json |
                sed -n 's,^.*/containers/\([0-9a-f]*\)/[^:]*:.*:\(.*\),\1 \2,p' >privileges &
            list_ids images "$images" && inspect images "$image_format" &
            cat "${images%content/sha256}"metadata/sha256/*/parent | sed 's/sha256:/\n/g' >parents &
            # A volume may be a bind mount of a folder of the host. Of its options only the path is
            # reported: others may contain a password.
            for file in "$root"/volumes/*/opts.json; do
                grep -q '"MountOpts":"[^"]*bind' "$file" || continue
                name=${file%/opts.json}
                device=$(grep -o '"MountDevice":"[^"]*"' "$file" | cut -d '"' -f 4)
                printf '%s %s\n' "${name##*/}" "$device"
            done >volumes
            {
                # The options of the default bridge, such as icc, and the networks of a swarm.
                echo bridge >networks.ids
                if [ ! -e "$root/swarm/state.json" ] || docker_in_time network ls \
                    --filter driver=overlay --quiet >>networks.ids 2>networks-error; then
                    inspect networks "$network_format"
                else
                    give_up networks $?
                fi
            } &
            [ ! -d "$images" ] || (
                # shellcheck disable=SC2012,SC2035  # The names are hexadecimal.
                cd "$images" && ls | sed 's/$/:/' &&
                    grep -oHE '"created_by":"([^"\\]|\\.)*"' -- *
            ) | count_instructions >history &
            wait
        else
            give_up info $?
        fi
    } 2>/dev/null &
fi
{
    eval "set -- $properties -- $units"
    systemctl show "$@" >units
    command -v auditctl >/dev/null && { { auditctl -l && auditctl -s; } >audit || rm -f audit; }
} 2>/dev/null &
{
    # An sshd that runs in a container is in that container's cgroup.
    # shellcheck disable=SC2013  # The paths have no blanks.
    for folder in $(grep -lx sshd /proc/[0-9]*/comm); do
        grep -ohE '[0-9a-f]{64}' "${folder%comm}cgroup"
    done | sort -u >sshd-containers
    ss -Hltn >listening || rm -f listening
} 2>/dev/null &
{
    read -r hostname </proc/sys/kernel/hostname && fact hostname "$hostname"
    read -r kernel </proc/sys/kernel/osrelease && fact kernel "$kernel"
    fact arch "$(uname -m)"
    [ -n "$pid" ] && fact engine-owner "$owner" && fact daemons "$daemons"
    [ -z "$named" ] || fact settings-named yes
    fact settings "$settings"
    while IFS='=' read -r key value; do
        case $key in
        PRETTY_NAME)
            value=${value#\"}
            fact os "${value%\"}"
            ;;
        esac
    done </etc/os-release
    same_folders
    while read -r _ _ number _ place _; do fact mount "$place $number"; done </proc/self/mountinfo
    for tool in docker dockerd auditctl systemctl; do
        command -v "$tool" >/dev/null && fact tool "$tool"
    done
    # The members of the socket's group can use it, even if the group is not called docker.
    socket=$(stat -L -c %g "${DOCKER_HOST#unix://}")
    while IFS=: read -r name _ gid members; do
        [ "$name" = docker ] || [ "$gid" = "$socket" ] || continue
        [ "$gid" -ne 0 ] || continue
        # Users with this primary group are not listed as members.
        while IFS=: read -r user _ _ first _; do
            [ "$first" = "$gid" ] && members=$members,$user
        done </etc/passwd
        fact docker-group "$gid $members"
    done </etc/group
    for file in /sys/kernel/security/lsm /sys/fs/selinux/enforce; do
        [ -r "$file" ] && { IFS= read -r value <"$file" || [ -n "$value" ]; } &&
            fact "${file##*/}" "$value"
    done
    grep -hE '^(export )?DOCKER_CONTENT_TRUST=' /etc/environment /etc/profile.d/*.sh |
        while IFS= read -r line; do
            line=${line#*DOCKER_CONTENT_TRUST=}
            fact content-trust "${line%%[ ;#]*}"
        done
    [ -z "$DOCKER_CONTENT_TRUST" ] || fact content-trust "$DOCKER_CONTENT_TRUST"
    [ "$(id -u)" -eq 0 ] || fact not-root yes
} >host 2>/dev/null
# The paths of certificates, from daemon.json and from the command line.
tls=$({
    # shellcheck disable=SC2020  # Three characters become three line ends.
    [ ! -r daemon-json ] || tr -d ' \t' <daemon-json | tr ',{}' '\n\n\n' |
        sed -n 's/^"\(tls[a-z]*\)":"\(\/[^"]*\)".*/\1 \2/p'
    [ ! -r flags ] || tr '\n' '=' <flags | sed 's/=--/\n--/g' |
        sed -n 's/^--\(tls[a-z]*\)=\(\/[^=]*\)=*$/\1 \2/p'
} 2>/dev/null | sort -u)
printf '%s\n' "$tls" | while read -r name path; do
    [ -z "$path" ] || stat -L -c "$name %a %U:%G %u:%g %F|%n" -- "$path"
done >tls 2>/dev/null
# shellcheck disable=SC2086  # They are patterns.
stat -L -c '%a %U:%G %u:%g %F|%n' $paths "$settings" 2>/dev/null | sort -u >modes
# A plus after the mode means that there is also an access list.
# shellcheck disable=SC2012,SC2086  # Only ls shows it; they are patterns.
ls -ldL $paths 2>/dev/null | sed -n 's,^[^ ]\{10\}+ [^/]* /,/,p' >acls
wait
# Mask tokens and passwords, such as those for a log driver or a proxy.
secrets='[^"=[:space:]]*(token|password|passwd|secret|credential)[^"=[:space:]]*'
for file in daemon-json flags info units; do
    [ -s "$file" ] || continue
    sed -E -e 's/("'"$secrets"'"[[:space:]]*:[[:space:]]*)"([^"\\]|\\.)*"/\1"***"/gI' \
        -e 's/('"$secrets"'=)[^"[:space:]]+/\1***/gI' \
        -e 's,://[^/@"[:space:]]*@,://***@,g' "$file" >masked
    # If masking failed, the file is not reported.
    case $? in 0) mv masked "$file" ;; *) rm -f masked "$file" ;; esac
done
eval "set -- $compressed"
for file; do
    [ -s "$file" ] && gzip -c "$file" | base64 >"$file.gz" && rm -f "$file"
done
# Also empty files: an empty section is not a missing one. Of an error only the beginning.
# shellcheck disable=SC2035  # The file names are the names of the sections.
awk 'BEGIN {
    for (at = 1; at < ARGC; at++) {
        print "\n== " ARGV[at]
        error = ARGV[at] ~ /-error$/
        for (number = 1; (getline line < ARGV[at]) > 0 && !(error && number > 5); number++)
            print "|" (error ? substr(line, 1, 500) : line)
        close(ARGV[at])
    }
}' *
)
section end
