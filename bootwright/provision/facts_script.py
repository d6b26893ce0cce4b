"""The script by which a board reports itself as a Docker host.

Every program started costs an emulated board 50 ms and more: the shell itself reads what it
can, and what takes long runs at once. Each fact is a file in a folder of the script's own,
and the folder is printed at the end. The parser is in :mod:`bootwright.provision.facts`.

Sources: systemctl(1) ``show``, sshd(8) ``-T``, auditctl(8), proc_pid_mountinfo(5), dpkg-query(1),
pacman(8), subuid(5), and the kernel's ``Documentation/ABI/testing/sysfs-block-dm``.
"""

import re
import shlex
from dataclasses import dataclass

from bootwright.core.board_names import STATE
from bootwright.hosts.settled import SETTLED
from bootwright.remote.sections import END, PRELUDE

TRANSACTION = f"{STATE}/transaction"
"""What a change needs to be put back; there only while one is under way."""

UPGRADED = f"{STATE}/upgraded"
"""When the packages were last brought up to date: a date, and what could not be fetched."""

REBOOTED_FOR = f"{STATE}/rebooted-for"
"""The kernel that the board was restarted for, so that one that never boots is not tried
for ever."""

DATA_ROOT = "/var/lib/docker"

PID_FILE = "/run/docker.pid"
"""Written when the daemon starts."""

PROVEN = "/run/bootwright-proven"
"""The daemon's process that was last proven to do what daemon.json says, and its versions."""

RELAY_CONTROL = f"{STATE}/logs/control"
"""Where the relay of logs tells its figures; see :mod:`bootwright.provision.log_relay`."""

RELOADED = "/run/bootwright-reloaded"
"""Written when we had the daemon read daemon.json again."""

UNITS = (
    *("docker.service", "docker.socket", "containerd.service", "auditd.service"),
    *("systemd-timesyncd.service", "chrony.service", "chronyd.service", "ntpd.service"),
    *("ntpsec.service", "ntp.service", "openntpd.service", "ssh.service", "sshd.service"),
    *("bootwright-logs.service", "bootwright-logs.socket", "bootwright-containers.service"),
)

_PROPERTIES = (
    *("Id", "LoadState", "ActiveState", "UnitFileState", "NeedDaemonReload", "ExecStart"),
)


_SCRIPT = r"""
umask 077
work=$(mktemp -d /run/bootwright.XXXXXX) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
@settled@pid=
[ -r @pidfile@ ] && read -r pid <@pidfile@
[ -n "$pid" ] && [ -d "/proc/$pid" ] || pid=
proven=
if [ -n "$pid" ] && [ -r @proven@ ] && ! [ /etc/docker/daemon.json -nt @proven@ ]; then
    # The same process, with the same file: asking again would take a second and tell the same.
    IFS= read -r proven <@proven@
    [ "${proven%% *}" = "$pid" ] || proven=
fi
@whole@
# Never through the socket alone: systemd would start a daemon that somebody stopped.
[ -z "$pid" ] || [ -n "$proven" ] ||
    timeout 30 docker info --format '{{json .}}' >engine 2>engine-error &
{
    systemctl show @properties@ -- @units@ >units
    systemctl list-units --state=failed --plain --no-legend >failed
    [ ! -S @relay@ ] || timeout 10 syslog-ng-ctl stats --control=@relay@ >relay
    [ -z "$pid" ] || tr '\0' '\n' <"/proc/$pid/cmdline" >flags
    # Not by the shell, which reads a byte at a time: this file gives all or nothing.
    cat /proc/sys/user/max_user_namespaces >userns
} 2>/dev/null &
{
    sshd -T >sshd 2>sshd-error
    grep -ihE '^[[:space:]]*match[[:space:]]' /etc/ssh/sshd_config /etc/ssh/sshd_config.d/*.conf \
        >sshd-matches
    read -r release </proc/sys/kernel/osrelease
    if [ -r "/boot/config-$release" ]; then
        grep -E @options@ "/boot/config-$release" >kernel-config
    elif [ -r /proc/config.gz ]; then
        gzip -dc /proc/config.gz | grep -E @options@ >kernel-config
    fi
    [ -s kernel-config ] || rm -f kernel-config
} &
fact() { printf '%s %s\n' "$1" "$2"; }
first() { [ -r "$2" ] && IFS= read -r value <"$2" && fact "$1" "$value"; }
{
    first hostname /proc/sys/kernel/hostname
    first kernel /proc/sys/kernel/osrelease
    first boot /proc/sys/kernel/random/boot_id
    first upgraded @upgraded@
    first rebooted-for @rebooted@
    [ -e /proc/self/ns/user ] && fact has-userns yes
    [ -e @transaction@/armed ] && fact transaction armed
    like=
    while IFS='=' read -r key value; do
        case $key in
        ID | ID_LIKE | PRETTY_NAME)
            value=${value#\"}
            value=${value%\"}
            like="$like $value "
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
    while read -r _ _ number root place options _; do
        case $place in
        / | /var/lib/docker | /var/lib/containerd)
            uuid=
            file=/sys/dev/block/$number/dm/uuid
            [ -r "$file" ] && read -r uuid <"$file"
            fact mount "$place $options ${uuid:-none}"
            ;;
        esac
    done </proc/self/mountinfo
    for tool in apt-get pacman docker dockerd auditctl augenrules useradd systemctl systemd-run; do
        command -v "$tool" >/dev/null && fact tool "$tool"
    done
    while IFS=: read -r name _ uid _ _ _ _; do
        case $name in dockremap | @user@) fact account "$name $uid" ;; esac
    done </etc/passwd
    while IFS=: read -r name _ gid members; do
        [ "$name" = docker ] && fact docker-group "$gid $members"
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
    # What the daemon was started with, or told to read again, is older than the file.
    [ -n "$pid" ] && [ /etc/docker/daemon.json -nt @pidfile@ ] &&
        { [ ! -e @reloaded@ ] || [ /etc/docker/daemon.json -nt @reloaded@ ]; } &&
        fact unread daemon.json
    [ -n "$pid" ] && fact engine-runs yes
    [ -n "$proven" ] && fact proven "$proven"
    [ "$(id -u)" -eq 0 ] || fact not-root yes
} >host 2>/dev/null
# By the system, not by the tool: each can be installed on the other.
case $like in
*" arch "* | *" archarm "*) pacman -Q @packages@ >packages ;;
*) dpkg-query -W -f '${db:Status-Abbrev} ${Package} ${Version}\n' @packages@ >packages ;;
esac 2>/dev/null
stat -c '%a %U:%G %u:%g %F|%n' @paths@ >modes 2>/dev/null
{ auditctl -l && auditctl -s; } >audit 2>/dev/null
@digests@
tar -C / -cf - @files@ 2>/dev/null | base64 >files
wait
awk 'FNR == 1 { print "\n== " FILENAME } { print "|" $0 }' *
"""


@dataclass(frozen=True)
class Questions:
    """What the script is asked beside the usual: what the plan for a target needs to know.

    Attributes:
        packages: their names in every distribution.
        kernel: options without ``CONFIG_``.
        paths: whose owner and mode matter; shell patterns.
        files: whose content matters.
        secret_files: of which only the digest leaves the board.
        user: the account of the target's trusted user.
        whole: ask the engine as well, even if it was proven and has not changed.
    """

    packages: tuple[str, ...]
    kernel: tuple[str, ...]
    paths: tuple[str, ...]
    files: tuple[str, ...]
    secret_files: tuple[str, ...] = ()
    user: str = "dockremap"
    whole: bool = True


def host_functions(questions: Questions) -> str:
    """Return the shell function ``tell_facts``, which reports on the board; it needs root."""
    options = f"^CONFIG_({'|'.join(questions.kernel) or 'NONE'})=[ym]"
    digests = ""
    if questions.secret_files:
        digests = f"sha256sum -- {shlex.join(questions.secret_files)} >digests 2>/dev/null"
    values = {
        "settled": SETTLED,
        "pidfile": PID_FILE,
        "reloaded": RELOADED,
        "proven": PROVEN,
        "whole": "proven=" if questions.whole else "",
        "properties": shlex.join(f"--property={name}" for name in _PROPERTIES),
        "units": shlex.join(UNITS),
        "options": shlex.quote(options),
        "upgraded": UPGRADED,
        "rebooted": REBOOTED_FOR,
        "relay": RELAY_CONTROL,
        "transaction": TRANSACTION,
        "user": shlex.quote(questions.user),
        "packages": shlex.join(questions.packages),
        # Unquoted: patterns. The profile's loader lets no blank or quote into them.
        "paths": " ".join(questions.paths),
        "digests": digests,
        "files": shlex.join(path.lstrip("/") for path in questions.files),
    }
    script = re.sub(r"@(\w+)@", lambda name: values[name[1]], _SCRIPT)
    return f"{PRELUDE}tell_facts() (\n{script}\n)\n"


def host_script(questions: Questions) -> str:
    """Return the script that reports on the board; it needs root."""
    return f"{host_functions(questions)}tell_facts\n{END}"


def proven_script(client: str, server: str) -> str:
    """Return the script that keeps in mind that the daemon that runs was proven.

    It ends with the daemon, or when daemon.json is changed: see :data:`PROVEN`.
    """
    versions = shlex.quote(f"{client or '-'} {server or '-'}")
    # The daemon ends its file without a line's end, which read does not call a success.
    return f'pid=; read -r pid <{PID_FILE}; [ -z "$pid" ] || echo "$pid" {versions} >{PROVEN}\n'
