"""A board for transactions: real shells and tools, a made-up ``/etc``, and a systemd and a Docker
that are a script whose state lies in files.

Every script runs in namespaces of its own, where ``/etc``, ``/var/lib`` and ``/run`` are the
board's folders. Every program that a script calls goes by way of one stand-in, which writes the
call down, and can have exactly one of them fail, hang, be the last thing before the power is cut,
or end with the job's shell killed.
"""

import contextlib
import json
import os
import select
import shlex
import shutil
import signal
import stat
import subprocess
import tarfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from bootwright.provision.facts_script import TRANSACTION
from bootwright.provision.transaction import (
    JOB,
    Transaction,
    apply_script,
    confirm_script,
    job_files,
)
from bootwright.provision.transaction_report import TransactionReport, parse_report
from bootwright.remote.io.connection import RemoteFinished
from bootwright.remote.job_script import FOLDER, archive
from bootwright.remote.sections import Section, parse_sections
from tests.support.changes import ID
from tests.support.namespace import namespaced

FAKED = (
    *("systemctl", "systemd-run", "journalctl", "docker", "useradd", "userdel", "gpasswd"),
    *("auditctl", "sshd", "ldd"),
)
"""Programs that a board has and that would not do here."""

COUNTED = (
    *("cat", "chmod", "chown", "cp", "flock", "grep", "ln", "mkdir", "mv", "rm", "rmdir", "sed"),
    *("sh", "sleep", "sync", "tar", "timeout"),
)
"""Programs that are real, and called by way of the stand-in."""

_WRITE_DOWN_AND_STRIKE = r"""
name=${0##*/}
text="$name $*"
newline='
'
while case $text in *"$newline"*) ;; *) false ;; esac do
    text="${text%%"$newline"*} ${text#*"$newline"}"
done
case $text in *bootwright-smoke:[0-9]*)
    rest=${text##*bootwright-smoke:}
    text="${text%bootwright-smoke:*}bootwright-smoke:N${rest#"${rest%%[!0-9]*}"}" ;;
esac
printf '%s\n' "$text" >>"$BOARD/calls"
if [ -e "$BOARD/strike" ]; then
    . "$BOARD/strike"
    if [ "$text" = "$which" ] &&
        [ "$(/usr/bin/grep -cxF -e "$text" "$BOARD/calls")" = "$nth" ]; then
        /usr/bin/rm -f "$BOARD/strike"
        : >"$BOARD/struck"
        case $how in
        fail) echo "struck: $text" >&2; exit 1 ;;
        hang) echo hangs >"$BOARD/hung"; exec /usr/bin/sleep 1000 ;;
        cut) kill -9 "-$(/usr/bin/cat "$BOARD/group")" $$ ;;
        kill)
            read -r runner </run/bootwright/apply/pid
            kill -9 $(/usr/bin/cat "/proc/$runner/task/$runner/children")
            exit 1 ;;
        esac
    fi
fi
"""

# Most calls are of real programs: sh, without all that follows, starts and ends sooner than bash.
_REAL = r"""
# A cut loses nothing here that has not reached the disk, and this machine's disk may be busy.
[ "$text" != "sync " ] || exit 0
exec "/usr/bin/$name" "$@"
"""

_FAKE = r"""
live() { grep -q '"live-restore": *true' "$docker/loaded"; }
die() { sed -i 's/ running$/ exited/' "$docker/containers"; }
load() {
    if [[ -e /etc/docker/daemon.json ]]; then cat /etc/docker/daemon.json; else echo '{}'; fi \
        >"$docker/loaded"
}
stop_docker() {
    [[ -e $docker/active ]] || return 0
    live || die
    [[ ! -e $docker/mortal ]] ||
        sed -i "/ \/$(<"$docker/mortal") /s/ running$/ exited/" "$docker/containers"
    rm -f "$docker/active"
}
# As augenrules --load does: the rules of the files replace all that the kernel has.
load_rule_files() {
    cat /etc/audit/rules.d/*.rules 2>/dev/null | grep '^-[wa] ' >"$BOARD/kernel-rules" || :
}
start_docker() {
    [[ ! -e $docker/active ]] || return 0
    ! grep -qs augenrules /etc/systemd/system/docker.service.d/60-bootwright.conf || load_rule_files
    if grep -qs broken /etc/docker/daemon.json; then
        echo "Job for docker.service failed" >&2
        return 1
    fi
    load
    # Containers that it finds and was not told to let live: moby's daemon.restore().
    live || die
    : >"$docker/active"
}
start_container() {
    sed -n "/^$1 .* running$/q1" "$docker/containers" || return 0
    pid=$(($(<"$docker/pids") + 1))
    echo "$pid" >"$docker/pids"
    sed -i "s,^$1 [0-9]* \([^ ]*\) .*,$1 $pid \1 running," "$docker/containers"
}
unit_docker() {
    case $1 in
    start) start_docker ;;
    restart) stop_docker; start_docker ;;
    stop) stop_docker ;;
    reload) [[ -e $docker/active ]] && load ;;
    is-active) [[ -e $docker/active ]] || return 3 ;;
    esac
}
wants=/etc/systemd/system/multi-user.target.wants
do_systemctl() {
    verb=$1
    shift
    local now=
    while [[ $1 == --* ]]; do [[ $1 == --now ]] && now=yes; shift; done
    if [[ $verb == daemon-reload ]]; then
        (cd /etc/systemd/system && ls) >"$BOARD/units"
        return
    fi
    for unit; do
        case $verb in
        is-enabled) [[ -L $wants/$unit ]] && continue; return 1 ;;
        enable) mkdir -p "$wants" && ln -sfn "/etc/systemd/system/$unit" "$wants/$unit" ;;
        disable) rm -f "$wants/$unit"; rmdir "$wants" 2>/dev/null || : ;;
        esac || return
        case $unit in
        docker.service) unit_docker "$verb" || return ;;
        bootwright-apply.service)
            signal=0
            [[ $verb != stop ]] || signal=9
            kill -$signal -- "-$(<"$BOARD/group")" 2>/dev/null || [[ $verb != is-active ]] ||
                return 3 ;;
        bootwright-deadline.timer) rm -f "$BOARD/timer" ;;
        auditd.service)
            case $verb$now in
            enableyes) : >"$BOARD/auditd-runs"; load_rule_files ;;
            kill) rm -f "$BOARD/auditd-runs" ;;
            stop) echo "Operation refused (RefuseManualStop=yes)" >&2; return 1 ;;
            is-active) [[ -e $BOARD/auditd-runs ]] || return 3 ;;
            esac ;;
        *) echo "$verb$now" >>"$BOARD/unit-$unit" ;;
        esac
    done
}
do_docker() {
    if [[ $DOCKER_HOST != unix:///run/docker.sock || -n $DOCKER_CONTEXT ]]; then
        echo "this is another engine" >&2
        return 1
    fi
    [[ -e $docker/active ]] || { echo "Cannot connect to the Docker daemon" >&2; return 1; }
    case $1 in
    info) live && echo true || echo false ;;
    ps) sed -n 's/^\([^ ]*\) .* running$/\1/p' "$docker/containers" ;;
    inspect)
        format=$3
        shift 3
        if [[ $format == *Status* ]]; then
            sed -n "s/^$1 .* \([a-z]*\)$/\1 $(<"$docker/exit") 0/p" "$docker/containers"
            return
        fi
        for id; do sed -n "s/^\($id .*\) running$/\1/p" "$docker/containers"; done ;;
    start) start_container "$2" ;;
    stop) shift; for id; do sed -i "/^$id /s/ running$/ exited/" "$docker/containers"; done ;;
    import) cat >/dev/null; echo sha256:0 ;;
    run)
        [[ ! -e $docker/lies ]] || { cat "$docker/lies"; return; }
        grep -q '"no-new-privileges": *true' "$docker/loaded" && echo "NoNewPrivs: 1" ||
            echo "NoNewPrivs: 0"
        echo "Seccomp: 2"
        grep -q userns-remap "$docker/loaded" && echo "uid_map: 0 100000" || echo "uid_map: 0 0" ;;
    version) printf '20.10\n20.11\n' ;;
    esac
}
do_auditctl() {
    rules=$BOARD/kernel-rules
    [[ -e $rules ]] || : >"$rules"
    case $1 in
    -l)
        # As auditctl 3 lists them: with -w both a rule for a path, and one for a folder.
        [[ -s $rules ]] || echo "No rules"
        sed 's/^-a always,exit -F path=\(.*\) -F perm=\(.*\) -F key=/-w \1 -p \2 -k /' "$rules" ;;
    -e) echo "enabled $2" >"$BOARD/recording" ;;
    -R)
        ignore=
        while IFS= read -r line; do
            case $line in
            '' | \#*) continue ;;
            -i) ignore=yes; continue ;;
            -[Wd]\ *)
                gone=${line/#-W/-w}
                gone=${gone/#-d/-a}
                if ! grep -qxF -e "$gone" "$rules"; then
                    echo "Error sending delete rule data request (No rule matches)" >&2
                    [[ -n $ignore ]] || return 1
                    continue
                fi
                grep -vxF -e "$gone" "$rules" >"$rules.left"
                mv "$rules.left" "$rules"
                continue ;;
            esac
            if grep -qxF -e "$line" "$rules"; then
                echo "Error sending add rule data request (Rule exists)" >&2
                [[ -n $ignore ]] || return 1
            else
                echo "$line" >>"$rules"
            fi
        done <"$2" ;;
    esac
}
docker=$BOARD/docker
PATH=/usr/bin:/bin
case $name in
systemctl) do_systemctl "$@" ;;
docker) do_docker "$@" ;;
systemd-run) echo "$*" >"$BOARD/timer" ;;
journalctl) echo "dockerd: no such thing" ;;
ldd) echo "	/lib/ld.so (0x00)" ;;
sshd) : ;;
auditctl) do_auditctl "$@" ;;
useradd)
    ! grep -q "^${*: -1}:" /etc/passwd || exit 9
    echo "${*: -1}:x:999:999::/home:/usr/sbin/nologin" >>/etc/passwd
    echo "${*: -1}:x:999:" >>/etc/group
    echo "${*: -1}:!:1::::::" >>/etc/shadow ;;
userdel)
    grep -q "^$1:" /etc/passwd || { echo "userdel: user '$1' does not exist" >&2; exit 6; }
    sed -i "/^$1:/d" /etc/passwd /etc/group /etc/shadow ;;
gpasswd)
    case $1 in
    -a) sed -i "s/^\($3:.*:\)$/\1$2/" /etc/group ;;
    -d)
        grep -q "^$3:.*$2" /etc/group || { echo "'$2' is not a member of '$3'" >&2; exit 3; }
        sed -i "s/^\($3:.*:\)$2$/\1/" /etc/group ;;
    esac ;;
esac
"""

_INSIDE = r"""
[ "$SHELL_UNDER_TEST" = dash ] || mount --bind "/usr/bin/$SHELL_UNDER_TEST" /usr/bin/dash
cd "$FOLDER"
# Before anything can strike. It leads its group of processes.
[ -z "$LEADS" ] || echo $$ >"$BOARD/group"
PATH=$BOARD/bin:/usr/bin:/bin
"""

ETC = {
    "hostname": "odroid\n",
    "hosts": "127.0.0.1 localhost\n127.0.1.1 odroid\n",
    "timezone": "UTC\n",
    "passwd": "root:x:0:0::/root:/bin/sh\nmia:x:1000:1000::/home:/bin/sh\n",
    "group": "root:x:0:\ndocker:x:998:\nmia:x:1000:\n",
    "shadow": "root:*:1::::::\n",
    "subuid": "",
    "subgid": "",
    "ssh/sshd_config": "UsePAM yes\n",
    "systemd/system/multi-user.target.wants/.keep": "",
}

Tree = dict[str, tuple[str, str, bytes]]


@dataclass
class FakeBoard:
    """One board; ``shell`` is what its ``sh`` is."""

    root: Path
    shell: str = "dash"

    def copy(self, root: Path) -> "FakeBoard":
        """Return a board that is as this one is."""
        subprocess.run(["cp", "-a", self.root, root], check=True)
        return FakeBoard(root, self.shell)

    def make(self) -> None:
        """Write everything that the board begins with."""
        for name in ("etc/docker", "lib/bootwright", "run", "bin", "docker"):
            (self.root / name).mkdir(parents=True)
        for name, text in ETC.items():
            self.write(f"/etc/{name}", text)
        (self.root / "etc/shadow").chmod(0o600)
        (self.root / "etc/localtime").symlink_to("/usr/share/zoneinfo/UTC")
        for stand_in, shell, act, names in (
            ("fake", "bash -p", _FAKE, FAKED),
            ("real", "sh", _REAL, COUNTED),
        ):
            file = self.root / "bin" / stand_in
            file.write_text(f"#!/bin/{shell}{_WRITE_DOWN_AND_STRIKE}{act}")
            file.chmod(0o755)
            for name in names:
                (self.root / "bin" / name).symlink_to(stand_in)
        self.state("docker/containers", "a1 10 /web running\nb2 11 /db running\n")
        self.state("docker/pids", "100\n")
        self.state("docker/exit", "137")
        self.state("calls", "")
        self.start_docker()

    def state(self, name: str, text: str) -> None:
        """Write a file of the stand-in's own."""
        (self.root / name).write_text(text)

    def start_docker(self) -> None:
        """Have the daemon run with the daemon.json that is there."""
        file = self.root / "etc/docker/daemon.json"
        self.state("docker/loaded", file.read_text() if file.exists() else "{}")
        self.state("docker/active", "")

    def write(self, path: str, text: str) -> None:
        """Write a file of the board."""
        file = self.path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def path(self, path: str) -> Path:
        """Return where a path of the board lies."""
        for prefix, name in (("/etc", "etc"), ("/var/lib", "lib"), ("/run", "run")):
            if path == prefix or path.startswith(f"{prefix}/"):
                return self.root / name / path[len(prefix) :].lstrip("/")
        raise AssertionError(path)

    def strike(self, how: str, which: str, nth: int = 1) -> None:
        """Have the ``nth`` call from now on that reads ``which`` ``fail``, ``hang`` or ``cut``."""
        self.state("calls", "")
        (self.root / "struck").unlink(missing_ok=True)
        self.state("strike", f"how={how} nth={nth} which={shlex.quote(which)}\n")

    def hang(self, which: str) -> None:
        """Have the first call from now on that reads ``which`` never end."""
        self.strike("hang", which)
        os.mkfifo(self.root / "hung")

    def until_hung(self) -> None:
        """Wait until the call hangs."""
        # For reading and writing, so that to open the pipe waits for nobody.
        with (self.root / "hung").open("r+b", buffering=0) as pipe:
            assert select.select([pipe], [], [], 60)[0], "the call was not made"

    @property
    def calls(self) -> list[str]:
        """Every call since the last strike was set up."""
        return (self.root / "calls").read_text().splitlines()

    def start(self, *argv: str, leads: bool = True) -> subprocess.Popen[bytes]:
        """Start a script of the board; ``leads``: it is what a strike ends, and systemd stops."""
        return subprocess.Popen(
            self._inside("sh", *argv),
            env=self._environment(argv[0].rpartition("/")[0], leads),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _inside(self, *argv: str) -> list[str]:
        binds = {"/etc": "etc", "/var/lib": "lib", "/run": "run"}
        folders = {path: self.root / name for path, name in binds.items()}
        return namespaced(folders, *argv, prepare=_INSIDE)

    def _environment(self, folder: str, leads: bool) -> dict[str, str]:
        return {
            "BOARD": str(self.root),
            "SHELL_UNDER_TEST": self.shell,
            "FOLDER": folder,
            "LEADS": "yes" if leads else "",
            # Root's own docker command uses another engine than that of the board.
            "DOCKER_CONTEXT": "other",
            "DOCKER_HOST": "unix:///run/other.sock",
            "PATH": os.environ["PATH"],
        }

    def run_script(self, script: str, stdin: bytes) -> RemoteFinished:
        """Run a script as an SSH session does; a job that it starts goes on."""
        done = subprocess.run(
            self._inside("sh", "-c", script),
            env=self._environment("/", leads=False),
            input=stdin,
            capture_output=True,
            timeout=120,
        )
        return RemoteFinished(done.returncode, done.stdout, done.stderr)

    def expect_job(self) -> None:
        """Have the processes of the job be those that a strike ends, and systemd stops."""
        (self.root / "group").symlink_to(f"{self.path(FOLDER)}/{JOB}/pid")

    def kill_job(self) -> None:
        """End the job, if it still runs, with everything that it started."""
        with contextlib.suppress(OSError, ValueError):
            os.killpg(int((self.root / "group").read_text()), signal.SIGKILL)

    def run(self, *argv: str) -> tuple[Section, ...]:
        """Run a script of the board to its end."""
        return sections_of(self.start(*argv, leads=False))

    def write_job(self, change: Transaction) -> str:
        """Write the job that applies the change, as the start script does; return its path."""
        folder = self.path(f"{FOLDER}/{JOB}")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)
        data = archive(apply_script(change), job_files(change))
        with tarfile.open(fileobj=BytesIO(data)) as tar:
            tar.extractall(folder, numeric_owner=True, filter="fully_trusted")
        return f"{FOLDER}/{JOB}/job"

    def start_apply(self, change: Transaction) -> subprocess.Popen[bytes]:
        """Begin to apply the change."""
        return self.start(self.write_job(change))

    def apply(self, change: Transaction) -> TransactionReport:
        """Apply the change."""
        return parse_report(sections_of(self.start_apply(change)))

    def restore(self, why: str) -> tuple[Section, ...]:
        """Run the script that puts back, as systemd does."""
        return self.run(f"{TRANSACTION}/restore", why)

    def reach_deadline(self) -> tuple[Section, ...]:
        """Have the timer end, and so the script run that puts back."""
        (self.root / "timer").unlink()
        return self.restore("deadline")

    def confirm(self) -> tuple[str, ...]:
        """Confirm; return the names of the sections that come back."""
        return tuple(section.name for section in sections_of(self.start_confirm()))

    def start_confirm(self) -> subprocess.Popen[bytes]:
        """Begin to confirm."""
        self.write("/run/confirm", confirm_script(ID))
        return self.start("/run/confirm")

    def reboot(self) -> None:
        """Lose what a restart loses, and start up with what was armed."""
        shutil.rmtree(self.path(FOLDER), ignore_errors=True)
        (self.root / "docker/active").unlink(missing_ok=True)
        (self.root / "timer").unlink(missing_ok=True)
        units = self.path("/etc/systemd/system")
        wanted = units / "multi-user.target.wants" / "bootwright-restore.service"
        # What the unit says itself.
        if wanted.is_symlink() and (units / wanted.name).exists() and self.armed:
            self.restore("boot")

    @property
    def armed(self) -> bool:
        """Whether the change would be put back."""
        return self.path(f"{TRANSACTION}/armed").exists()

    @property
    def running(self) -> str:
        """The containers with process and state."""
        return (self.root / "docker/containers").read_text()

    @property
    def loaded(self) -> object:
        """The configuration of the daemon that runs."""
        return json.loads((self.root / "docker/loaded").read_text())

    @property
    def left(self) -> list[str]:
        """What a transaction left of itself, but for its locks."""
        found = [
            *self.path("/etc").rglob("*bootwright-restore*"),
            *self.path("/etc").rglob("*.bootwright"),
            *self.path("/var/lib/bootwright").glob("transaction"),
            *self.path(f"{FOLDER}/{JOB}").glob("[0-9]*"),
            *self.root.glob("timer"),
        ]
        return [str(path.relative_to(self.root)) for path in found]

    def tree(self) -> Tree:
        """Return everything that lasts: kind, owner and mode, link, and content."""
        found: Tree = {}
        paths = [*self.path("/etc").rglob("*"), *self.path("/var/lib").rglob("*")]
        for path in sorted(paths):
            if path.is_relative_to(self.path(TRANSACTION)) or "transaction.lock" in path.name:
                continue
            status = path.lstat()
            name = str(path.relative_to(self.root))
            what = f"{stat.filemode(status.st_mode)} {status.st_uid}:{status.st_gid}"
            link = str(path.readlink()) if path.is_symlink() else ""
            content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
            found[name] = (what, link, content)
        return found


def sections_of(running: subprocess.Popen[bytes]) -> tuple[Section, ...]:
    """Return the sections that a script wrote until it ended, also if it was killed."""
    out, _ = running.communicate(timeout=120)
    text = out.decode("utf-8", "replace")
    return parse_sections(f"{text}\n== end\n")
