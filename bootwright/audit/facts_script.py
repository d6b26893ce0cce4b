"""The script by which a board tells an audit what it needs to know, in one round trip.

Every program started costs an emulated board 50 ms and more, and the docker command 500: what
does not depend on each other runs at once, and containers and images are inspected in one call
each. No container's secret leaves the board: no environment, no labels, no command lines, and of an
image's history only how many instructions of two kinds there are. Each fact is a file in a
folder of the script's own, and the folder is printed at the end; what may be long is compressed.
The parser is in :mod:`bootwright.audit.facts`.

Sources: docker(1) ``inspect``, ``info``; moby's ``api/types/container`` and ``image/store`` (the
configuration of an image with its history); auditctl(8); proc_pid_mountinfo(5).
"""

import re
import shlex
from collections.abc import Sequence

from bootwright.hosts.settled import SETTLED
from bootwright.remote.sections import END, PRELUDE

DAEMON_JSON = "/etc/docker/daemon.json"

UNITS = (
    *("docker.service", "docker.socket", "containerd.service", "auditd.service"),
    *("bootwright-logs.service", "bootwright-logs.socket"),
)

LONG = ("info", "containers", "images", "history", "networks", "privileges", "links")
"""Facts that are compressed."""

_PROPERTIES = ("Id", "LoadState", "ActiveState", "UnitFileState", "ExecStart")

CONTAINER = (
    '{"id":{{json .ID}},"name":{{json .Name}},"image":{{json .Config.Image}},'
    '"image_id":{{json .Image}},"state":{{json .State.Status}},"user":{{json .Config.User}},'
    '"apparmor":{{json .AppArmorProfile}},"mounts":{{json .Mounts}},'
    '"ports":{{json .NetworkSettings.Ports}},'
    '"networks":[{{$comma := ""}}{{range $name, $_ := .NetworkSettings.Networks}}'
    '{{$comma}}{{json $name}}{{$comma = ","}}{{end}}],'
    '"health":{{with .State.Health}}{{json .Status}}{{else}}null{{end}},'
    '"log_driver":{{json .HostConfig.LogConfig.Type}}'
    "@host@}"
)
"""Go's template for what is told of a container: nothing that holds secrets.

By the names of moby's Go types, not those of its JSON: with one of the latter docker goes back to
plain tables, where what is optional is missing.
"""

_HOST_CONFIG = (
    *("Privileged", "CapAdd", "CapDrop", "NetworkMode", "PidMode", "IpcMode", "UTSMode"),
    *("UsernsMode", "CgroupParent", "Memory", "CPUShares", "NanoCPUs", "CPUQuota", "PidsLimit"),
    *("ReadonlyRootfs", "RestartPolicy", "Devices", "Ulimits", "SecurityOpt", "CPUPeriod"),
    *("MaskedPaths", "ReadonlyPaths", "DeviceCgroupRules", "DeviceRequests"),
)

IMAGE = (
    '{"id":{{json .ID}},"tags":{{json .RepoTags}}'
    '{{with .Config}},"user":{{json .User}},"healthcheck":{{with .Healthcheck}}{{with .Test}}'
    "{{json (index . 0)}}{{else}}null{{end}}{{else}}null{{end}}{{end}}}"
)
"""Likewise of an image. Of a health check only its kind: its command may hold a password."""

NETWORK = (
    '{"name":{{json .Name}},"driver":{{json .Driver}},"options":{{json .Options}},'
    '"containers":[{{$comma := ""}}{{range $id, $_ := .Containers}}'
    '{{$comma}}{{json $id}}{{$comma = ","}}{{end}}]}'
)

_SCRIPT = r"""
umask 077
work=$(mktemp -d /run/bootwright.XXXXXX) || exit 1
trap 'rm -rf "$work"' EXIT
# A shell that a signal ends would leave it behind.
trap 'exit 1' HUP INT TERM PIPE
cd "$work" || exit 1
# Whatever a board's docker writes, its /run is not filled.
ulimit -f $((@most@ / 512))
@settled@fact() { printf '%s %s\n' "$1" "$2"; }
# All or nothing: what is not told in time, or with an error, is not known.
docker_in_time() { timeout -k 5 @wait@ docker "$@"; }
untold() {
    # With 125 xargs tells of a signal, as timeout with 137: those who do not end are killed.
    if [ -e "$1" ] && [ "$(wc -c <"$1")" -ge @most@ ]; then
        echo "an answer without end" >"$1-error"
    elif [ ! -s "$1-error" ] || [ "$2" -eq 125 ] || [ "$2" -eq 137 ]; then
        echo "no answer within @wait@ s" >"$1-error"
    fi
    rm -f "$1" "$1.ids"
}
# The ids of containers and images are names of folders and files, without another start of the
# docker command, but for the images of an engine that keeps them with containerd: there each has
# a line for every tag.
ids() {
    if [ -d "$2" ]; then
        ls "$2" >"$1.ids" 2>"$1-error"
    else
        docker_in_time "${1%s}" ls --all --quiet --no-trunc >"$1.ids" 2>"$1-error" &&
            sort -u -o "$1.ids" "$1.ids"
    fi || { untold "$1" $? && false; }
}
# Of an image's history only how often there is an ADD, and an update without what it is for; the
# oldest instruction, a base image's, is passed over as docker-bench-security does.
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
inspect() {
    xargs -r timeout -k 5 @wait@ docker "${1%s}" inspect --format "$2" \
        <"$1.ids" >"$1" 2>"$1-error"
    status=$?
    # One that is gone meanwhile is none; but "no such file" is said of the engine's socket.
    gone='no such (container|image|network|object)|network .* not found'
    told=$(($(wc -l <"$1") + $(grep -ciE "$gone" "$1-error")))
    if [ "$told" -ge "$(wc -l <"$1.ids")" ]; then
        rm -f "$1-error" "$1.ids"
    else
        untold "$1" "$status"
    fi
}
# The daemon of docker.service, or else root's with the lowest number. A user's own counts only
# where root has none: anybody may give a program that name.
pid= owner= users= daemons=0
main=$(systemctl show --property=MainPID --value docker.service 2>/dev/null)
for file in /proc/[0-9]*/comm; do
    [ -r "$file" ] && IFS= read -r name <"$file" && [ "$name" = dockerd ] || continue
    folder=${file%/comm}
    # Not one in a container; nor one that has ended meanwhile, which has no command line.
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
# Its command line and its file say where it listens; the operator's own settings do not count.
unset DOCKER_CONTEXT DOCKER_TLS DOCKER_TLS_VERIFY DOCKER_CERT_PATH DOCKER_API_VERSION DOCKER_CONFIG
DOCKER_HOST=unix:///run/docker.sock
export DOCKER_HOST
named=
settings=@daemon_json@
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
# A pipe would never end.
[ -f "$settings" ] && { timeout 5 cat "$settings" >daemon-json || rm -f daemon-json; }
if [ -r daemon-json ] && ! grep -q '"fd://' daemon-json; then
    address=$(grep -o '"unix://[^"]*"' daemon-json | head -n 1)
    [ -z "$address" ] || DOCKER_HOST=$(printf '%s' "$address" | tr -d '"')
fi 2>/dev/null
# Never where no daemon runs: systemd would start one that somebody stopped.
if [ -n "$pid" ] && command -v docker >/dev/null; then
    {
        if docker_in_time info --format '{{json .}}' >info 2>info-error && [ -s info ]; then
            rm -f info-error
            root=$(grep -o '"DockerRootDir":"[^"]*"' info | cut -d '"' -f 4)
            driver=$(grep -o '"Driver":"[^"]*"' info | head -n 1 | cut -d '"' -f 4)
            images=$root/image/$driver/imagedb/content/sha256
            {
                ids containers "$root/containers" && inspect containers @container@
                # What links in the sources of mounts lead to.
                grep -oh '"Source":"/[^"\\]*"' containers | cut -d '"' -f 4 | sort -u >sources
                tr '\n' '\0' <sources | xargs -0 -r readlink -m -- | paste -d '|' sources - >links
                rm -f sources
            } &
            # What each was made with, not what the daemon would give to a new one.
            grep -oHE '"NoNewPrivileges":(true|false)' "$root"/containers/*/config.v2.json |
                sed -n 's,^.*/containers/\([0-9a-f]*\)/[^:]*:.*:\(.*\),\1 \2,p' >privileges &
            ids images "$images" && inspect images @image@ &
            cat "${images%content/sha256}"metadata/sha256/*/parent | sed 's/sha256:/\n/g' >parents &
            # A volume may be another folder of the host. Its options may hold a password too.
            for file in "$root"/volumes/*/opts.json; do
                grep -q '"MountOpts":"[^"]*bind' "$file" || continue
                name=${file%/opts.json}
                device=$(grep -o '"MountDevice":"[^"]*"' "$file" | cut -d '"' -f 4)
                printf '%s %s\n' "${name##*/}" "$device"
            done >volumes
            {
                # icc of the default bridge; and what a swarm's networks are like.
                echo bridge >networks.ids
                if [ ! -e "$root/swarm/state.json" ] || docker_in_time network ls \
                    --filter driver=overlay --quiet >>networks.ids 2>networks-error; then
                    inspect networks @network@
                else
                    untold networks $?
                fi
            } &
            [ ! -d "$images" ] || (
                cd "$images" && ls | sed 's/$/:/' &&
                    grep -oHE '"created_by":"([^"\\]|\\.)*"' -- *
            ) | count_instructions >history &
            wait
        else
            untold info $?
        fi
    } 2>/dev/null &
fi
{
    systemctl show @properties@ -- @units@ >units
    command -v auditctl >/dev/null && { { auditctl -l && auditctl -s; } >audit || rm -f audit; }
} 2>/dev/null &
{
    # Where there is an sshd in a container: the process, and whose cgroup it is in.
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
    while read -r _ _ number _ place _; do fact mount "$place $number"; done </proc/self/mountinfo
    for tool in docker dockerd auditctl systemctl; do
        command -v "$tool" >/dev/null && fact tool "$tool"
    done
    # Whose group the socket is, may use it like the group docker.
    socket=$(stat -L -c %g "${DOCKER_HOST#unix://}")
    while IFS=: read -r name _ gid members; do
        [ "$name" = docker ] || [ "$gid" = "$socket" ] || continue
        [ "$gid" -ne 0 ] || continue
        # Those whose own group it is are not listed there.
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
# Where daemon.json and the command line have their certificates.
tls=$({
    [ ! -r daemon-json ] || tr -d ' \t' <daemon-json | tr ',{}' '\n\n\n' |
        sed -n 's/^"\(tls[a-z]*\)":"\(\/[^"]*\)".*/\1 \2/p'
    [ ! -r flags ] || tr '\n' '=' <flags | sed 's/=--/\n--/g' |
        sed -n 's/^--\(tls[a-z]*\)=\(\/[^=]*\)=*$/\1 \2/p'
} 2>/dev/null | sort -u)
printf '%s\n' "$tls" | while read -r name path; do
    [ -z "$path" ] || stat -L -c "$name %a %U:%G %u:%g %F|%n" -- "$path"
done >tls 2>/dev/null
stat -L -c '%a %U:%G %u:%g %F|%n' @paths@ "$settings" 2>/dev/null | sort -u >modes
# A mode that has a plus behind it is not all that counts.
ls -ldL @paths@ 2>/dev/null | sed -n 's,^[^ ]\{10\}+ [^/]* /,/,p' >acls
wait
# What a log driver or a proxy is let in with, is of no use to an audit.
secrets='[^"=[:space:]]*(token|password|passwd|secret|credential)[^"=[:space:]]*'
for file in daemon-json flags info units; do
    [ -s "$file" ] || continue
    sed -E -e 's/("'"$secrets"'"[[:space:]]*:[[:space:]]*)"([^"\\]|\\.)*"/\1"***"/gI' \
        -e 's/('"$secrets"'=)[^"[:space:]]+/\1***/gI' \
        -e 's,://[^/@"[:space:]]*@,://***@,g' "$file" >masked
    # Rather nothing than what could not be masked.
    case $? in 0) mv masked "$file" ;; *) rm -f masked "$file" ;; esac
done
for file in @long@; do
    [ -s "$file" ] && gzip -c "$file" | base64 >"$file.gz" && rm -f "$file"
done
# Also what is empty, which is not the same as not told. Of an error its beginning says enough.
awk 'BEGIN {
    for (at = 1; at < ARGC; at++) {
        print "\n== " ARGV[at]
        error = ARGV[at] ~ /-error$/
        for (number = 1; (getline line < ARGV[at]) > 0 && !(error && number > 5); number++)
            print "|" (error ? substr(line, 1, 500) : line)
        close(ARGV[at])
    }
}' *
"""

WAIT_S = 60
"""Seconds that one call of docker may take."""

MOST = 16 * 1024 * 1024
"""Bytes that a fact may have, on the board and once it is unpacked here."""


def audit_script(paths: Sequence[str]) -> str:
    """Return the script that reports on the board; it needs root.

    Args:
        paths: whose owner and mode matter; shell patterns without blanks and quotes.
    """
    host = "".join(f',"{name}":{{{{json .HostConfig.{name}}}}}' for name in _HOST_CONFIG)
    values = {
        "settled": SETTLED,
        "daemon_json": DAEMON_JSON,
        "wait": str(WAIT_S),
        "most": str(MOST),
        "container": shlex.quote(CONTAINER.replace("@host@", host)),
        "image": shlex.quote(IMAGE),
        "network": shlex.quote(NETWORK),
        "properties": shlex.join(f"--property={name}" for name in _PROPERTIES),
        "units": shlex.join(UNITS),
        "paths": " ".join(paths),
        "long": " ".join(LONG),
    }
    script = re.sub(r"@(\w+)@", lambda name: values[name[1]], _SCRIPT)
    return f"{PRELUDE}({script})\n{END}"
