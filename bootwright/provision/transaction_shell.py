"""The shell of a transaction; :mod:`bootwright.provision.transaction` puts the parts together.

``@name@`` is replaced there. The state that lasts is in ``$here``: ``old/N`` what was at a path, or
``old/N.none`` if nothing was; ``state/active`` if the daemon ran, ``state/running`` its containers
(id, process, name), ``state/hold`` if they are to go on running, ``state/stopped`` if they were
stopped, ``state/touched`` once the daemon was; ``state/disabled-UNIT`` if a unit that will be
enabled was not; ``armed`` as long as the
change may be put back, with the change's own id in it.

Sources: dockerd(8) and moby's ``daemon/daemon.go`` for what a daemon does to containers that it
finds; systemd-run(1), systemctl(1).
"""

# Shell functions of both scripts. The daemon's own state is in $state.
FUNCTIONS = r"""
umask 077
here=@transaction@
state=$here/state
# A daemon that hangs must not keep the way back from being taken.
docker() { timeout @docker_s@ docker "$@"; }
log_daemon() { journalctl --no-pager -b -o cat -n 12 -u docker.service 2>&1; }
systemctl_docker() {
    timeout @daemon_s@ systemctl "$@" docker.service || { log_daemon; return 1; }
}
answers() { docker info --format '{{.LiveRestoreEnabled}}' 2>/dev/null; }
running() {
    # Those that are being restarted again and again have another process each time.
    ids=$(docker ps -q --no-trunc --filter status=running) || return
    # Word splitting is meant: ids. One that has ended meanwhile does not run.
    [ -z "$ids" ] || docker inspect --format '{{.Id}} {{.State.Pid}} {{.Name}}' $ids ||
        [ "$(docker ps -q --no-trunc --filter status=running)" != "$ids" ]
}
put() {
    # Beside its place, so that the rename is one step.
    rm -f "$2.bootwright" && cp -pP "$1" "$2.bootwright" && mv -fT "$2.bootwright" "$2"
}
hold_containers() {
    # A daemon that ends takes its containers along, unless it was told not to before.
    [ -s "$state/running" ] && [ -e "$state/hold" ] || return 0
    [ "$(answers)" = true ] && return 0
    put "$here/@interim@" @daemon_json@ && systemctl_docker reload || return 1
    looks=0
    until [ "$(answers)" = true ]; do
        looks=$((looks + 1))
        [ "$looks" -lt 40 ] || { echo "live-restore could not be switched on"; return 1; }
        sleep 0.25 2>/dev/null || sleep 1
    done
}
smoke() {
    # A container of the board's own shell and its libraries: nothing has to be fetched.
    image=bootwright-smoke:$$
    libraries=$(ldd /bin/sh 2>/dev/null | sed -n 's,^[^/]*\(/[^ ]*\) (0x.*,\1,p')
    tar -C / -chf - bin/sh $(for file in $libraries; do echo "${file#/}"; done) |
        docker import - "$image" 2>&1 || return 1
    docker run --rm --pull never "$image" /bin/sh -c '
        while read -r key value rest; do
            case $key in NoNewPrivs: | Seccomp:) echo "$key $value" ;; esac
        done </proc/self/status
        read -r inside outside count </proc/self/uid_map
        echo "uid_map: $inside $outside"' 2>&1
    code=$?
    docker rmi -f "$image" >/dev/null 2>&1
    return "$code"
}
survived() {
    [ -s "$state/running" ] && [ -e "$state/hold" ] || return 0
    running >"$state/now" || return
    lost=$(while read -r id pid name; do
        grep -qxF -e "$id $pid $name" "$state/now" && continue
        # Its work may have ended well meanwhile, or it was failing before already.
        state_of=$(docker inspect --format \
            '{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}' "$id" 2>/dev/null)
        case $state_of in "exited 0 "* | "restarting "* | "running "*" "[1-9]*) continue ;; esac
        echo "${name#/}"
    done <"$state/running")
    [ -z "$lost" ] || { echo "did not go on running:" $lost; return 1; }
}
start_containers() {
    lost=
    while read -r id _ name; do
        docker start "$id" >/dev/null 2>&1 || lost="$lost ${name#/}"
    done <"$state/running"
    [ -z "$lost" ] || { echo "did not start again:$lost"; return 1; }
}
disarm() {
    systemctl disable --quiet bootwright-restore.service 2>/dev/null
    rm -f /etc/systemd/system/bootwright-restore.service
}
"""

APPLY = r"""
ours=
begin() {
    said=$("$@" 2>&1) && return
    section failed
    printf '%s\n' begin "$*: $said" | quoted
    # What another run has armed stays.
    [ -z "$ours" ] || { disarm; systemctl daemon-reload; rm -rf "$here"; }
    rm -f @folder@/@job@/[0-9]*
    exit 1
}
fail() {
    section failed
    printf '%s\n' "$1" "$said" | quoted
    sh "$here/restore" now || { section restored; echo "|broken off"; }
    exit 1
}
backup() {
    # A number, a path.
    if [ -d "$2" ] && [ ! -L "$2" ]; then
        return
    elif [ -e "$2" ] || [ -L "$2" ]; then
        cp -pP "$2" "$here/old/$1"
    else
        : >"$here/old/$1.none"
    fi
}
begun() {
    section step
    echo "|$1"
    progress "$1"
}
record_disabled() {
    systemctl is-enabled --quiet "$1" 2>/dev/null || : >"$state/disabled-$1"
}
touch_docker() { : >"$state/touched"; }
restart_docker() {
    touch_docker
    # The new file is in place; the daemon that runs must not read it, but be told to let go.
    rm -f "$here/wanted.json"
    [ ! -e @daemon_json@ ] || cp -p @daemon_json@ "$here/wanted.json" || return 1
    hold_containers || return 1
    if [ -e "$here/wanted.json" ]; then
        put "$here/wanted.json" @daemon_json@ || return 1
    else
        rm -f @daemon_json@ || return 1
    fi
    systemctl_docker restart || return 1
    [ -e "$state/hold" ] || @start@ || return 1
    survived
}
reload_docker() {
    touch_docker
    systemctl_docker reload && : >@reloaded@ && survived
}
start_docker() {
    touch_docker
    systemctl reset-failed docker.service docker.socket 2>/dev/null
    systemctl_docker start
}
look_at_daemon() {
    systemctl is-active --quiet docker.socket && : >"$state/socket"
    systemctl is-active --quiet docker.service
    case $? in
    0) : >"$state/active" ;;
    3 | 4) ;; # Not active, no such unit; others say that systemd did not tell.
    *) return 1 ;;
    esac
}
list_containers() { running >"$state/running"; }
lay_unit() {
    cat >/etc/systemd/system/bootwright-restore.service <<'UNIT'
[Unit]
Description=Put back what an unfinished inv provision changed
DefaultDependencies=no
After=local-fs.target
Before=docker.service docker.socket containerd.service auditd.service ssh.service sshd.service
ConditionPathExists=@transaction@/armed
[Service]
Type=oneshot
# sshd waits for it: a card that does not answer any more must not keep it for ever.
TimeoutStartSec=300
ExecStart=/bin/sh @transaction@/restore boot
[Install]
WantedBy=multi-user.target
UNIT
}
(umask 022; mkdir -p "${here%/*}")
exec 9>@transaction@.lock
begin flock -w 30 9
begin test ! -e "$here/armed"
ours=yes
rm -rf "$here"
begin mkdir -p "$here/old" "$state"
begin cp -p restore @interim@ "$here/"
begin look_at_daemon
[ ! -e "$state/active" ] || begin list_containers
@hold@
@backup@
begin lay_unit
begin systemctl daemon-reload
begin systemctl enable --quiet bootwright-restore.service
# The copies have to be on the disk before they count, and count before anything changes.
sync
echo @id@ >"$here/armed"
sync
said=$(systemd-run --quiet --collect --unit=bootwright-deadline --on-active=@confirm_s@ \
    --timer-property=AccuracySec=1s /bin/sh "$here/restore" deadline 2>&1) || fail begin
@stop@
"""

RESTORE = r"""
why=$1
section restore
printf '%s\n' "$why" | quoted
[ -e "$here/armed" ] || { echo "|there is nothing to put back"; exit 0; }
if [ "$why" = deadline ]; then
    # The one that carries the steps out hangs, or waits for a confirmation that never comes.
    systemctl stop bootwright-@job@.service 2>/dev/null
fi
exec 8>@transaction@.lock2
flock 8
[ -e "$here/armed" ] || exit 0
bad=
step() {
    said=$("$@" 2>&1) || { bad=1; section trouble; printf '%s\n' "$said" | quoted; }
}
# At boot no unit runs yet, and a command that waits for one would wait for this script.
step_unless_boot() { [ "$why" = boot ] || step "$@"; }
disable_again() { [ ! -e "$state/disabled-$1" ] || step systemctl disable --quiet "$1"; }
same() {
    [ ! -L "$1" ] && [ ! -L "$2" ] && cmp -s "$1" "$2" &&
        [ "$(stat -c '%a %u %g' "$1")" = "$(stat -c '%a %u %g' "$2")" ]
}
back() {
    # A number, a path. What was beside it was never moved into its place.
    [ ! -e "$2.bootwright" ] && [ ! -L "$2.bootwright" ] || rm -f "$2.bootwright"
    if [ -e "$here/old/$1.none" ]; then
        if [ -d "$2" ] && [ ! -L "$2" ]; then rmdir "$2" 2>/dev/null; else rm -f "$2"; fi
        return 0
    elif [ -e "$here/old/$1" ] || [ -L "$here/old/$1" ]; then
        # What was not changed may be what cannot be.
        same "$here/old/$1" "$2" || put "$here/old/$1" "$2"
    fi
}
daemon_back() {
    [ "$why" != boot ] || return 0
    if [ ! -e "$state/touched" ]; then
        [ ! -e "$state/stopped" ] || start_containers
        return
    elif [ ! -e "$state/active" ]; then
        systemctl stop docker.service
        [ -e "$state/socket" ] || systemctl stop docker.socket
        return
    fi
    how=restart well=0
    if [ -s "$state/running" ] && [ -e "$state/hold" ]; then
        if [ "$(answers)" = false ]; then
            # It was not restarted yet, and would take its containers along.
            how=reload
        else
            (umask 022; mkdir -p "$(dirname @daemon_json@)") &&
                put "$here/@interim@" @daemon_json@ || return 1
        fi
    fi
    systemctl reset-failed docker.service docker.socket 2>/dev/null
    systemctl_docker "$how" || well=1
    # Those that were stopped on purpose, and those that did not survive.
    [ ! -s "$state/running" ] || start_containers || well=1
    @daemon_file_back@
    systemctl_docker reload || return 1
    answers >/dev/null || { answers; return 1; }
    return "$well"
}
prove() {
    [ "$why" != boot ] && [ -e "$state/touched" ] && [ -e "$state/active" ] || return 0
    smoke >/dev/null || { echo "no container runs"; return 1; }
    survived
}
"""

RESTORED = r"""
step daemon_back
step prove
section restored
printf '%s\n' "${bad:-well}" | quoted
sync
rm -f "$here/armed" @folder@/@job@/[0-9]*
sync
# Only now: until the mark is gone for good, the next start has to put back.
disarm
[ "$why" = deadline ] || systemctl stop bootwright-deadline.timer 2>/dev/null
systemctl daemon-reload
if [ -z "$bad" ]; then
    rm -rf "$here"
else
    # The only copies of what could not be put back.
    rm -rf @transaction@.failed
    mv "$here" @transaction@.failed
fi
"""

CONFIRM = r"""
exec 8>@transaction@.lock2
flock 8
# Another run's change is not ours to confirm. The files have to be on the disk before the way
# back is gone.
if [ "$(cat @transaction@/armed 2>/dev/null)" = @id@ ]; then
    sync
    rm -f @transaction@/armed
    sync
    systemctl stop bootwright-deadline.timer 2>/dev/null
    systemctl disable --quiet bootwright-restore.service
    rm -f /etc/systemd/system/bootwright-restore.service
    systemctl daemon-reload
    rm -rf @transaction@ @folder@/@job@
    section confirmed
else
    section too-late
fi
"""

STOP_CONTAINERS = r"""
[ ! -s "$state/running" ] || {
    : >"$state/stopped"
    said=$(docker stop $(cut -d ' ' -f 1 "$state/running") 2>&1) || fail begin
}
"""

VERSIONS = r"""
section versions
docker version --format '{{.Client.Version}}
{{.Server.Version}}' 2>/dev/null | quoted
"""

HOLD = r"""
progress "have containers outlive the daemon"
mkdir "$state"
: >"$state/hold"
said=$({ running >"$state/running" && hold_containers; } 2>&1) || {
    section failed
    printf '%s\n' "have containers outlive the daemon" "$said" | quoted
    exit 1
}
"""
