"""Work on a board that goes on when the connection is lost: a job, and how to follow it.

A job is a script with files beside it in a folder of ``/run``, which is in memory. It runs in a
unit of its own, so that neither the end of the SSH session nor a restart of sshd ends it.
"""

import io
import shlex
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass

from bootwright.core.file_changes import FileChange
from bootwright.remote.sections import END, PRELUDE, Section

FOLDER = "/run/bootwright"

_LONGEST = 200
"""Characters of what a job says that are looked at."""

SLICE_S = 5
"""Seconds that one look at a job waits for its end; then it tells how far it has come."""

MOST_LOG = 500_000
"""Bytes of what a job wrote that are looked at: its end."""

JOB_PRELUDE = f"""{PRELUDE}progress() {{ printf '%s\\n' "$*" >progress; }}
"""
"""What a job begins with; ``progress TEXT`` says what it does now."""

_START = r"""
umask 077
folder=@folder@/@name@
mkdir -p @folder@ || exit
exec 9>@folder@/lock
flock -n 9 || { echo "another inv provision begins on this board; wait for it" >&2; exit 1; }
# Of any name: an upgrade and a change would meet at the daemon.
for other in @folder@/*/; do
    pid=
    [ -r "$other/pid" ] && [ ! -e "$other/status" ] && read -r pid <"$other/pid"
    if [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null; then
        echo "$(basename "$other") is under way on this board already; wait for it to end" >&2
        exit 1
    fi
done
rm -rf "$folder"
mkdir "$folder" && tar -xpmf - -C "$folder" || exit
cat >"$folder/run" <<'END'
cd @folder@/@name@ || exit
echo $$ >pid
sh job >log 2>&1 </dev/null
echo $? >status.new
mv status.new status
END
if [ -d /run/systemd/system ]; then
    systemd-run --quiet --collect --unit=bootwright-@name@ sh "$folder/run" 9>&- || exit
else
    setsid sh "$folder/run" >/dev/null 2>&1 </dev/null 9>&- &
fi
"""

_FOLLOW = r"""
folder=@folder@/@name@
end() { section "$1"; printf '%s\n' "$2" | quoted; }
looks=0
says=@told@
while [ ! -e "$folder/status" ] && [ "$looks" -lt @looks@ ] && [ "$says" = @told@ ]; do
    looks=$((looks + 1))
    [ -r "$folder/progress" ] && IFS= read -r says <"$folder/progress"
    sleep 0.25 2>/dev/null || sleep 1
done
# The process before the status: a job that ends in between has written it.
alive=
if [ -s "$folder/pid" ]; then
    read -r pid <"$folder/pid"
    kill -0 "$pid" 2>/dev/null && alive=yes
elif [ -d "$folder" ]; then
    # It begins.
    alive=yes says=
fi
if [ -e "$folder/status" ]; then
    read -r status <"$folder/status"
    end status "$status"
    # Its end says how it went; the whole of it may be more than a connection carries.
    tail -c @most@ "$folder/log"
elif [ -n "$alive" ]; then
    end running "$(printf %.200s "$says")"
else
    end gone ""
fi
"""


@dataclass(frozen=True)
class JobState:
    """How far a job is: its exit status and what it reported, or that it runs, or is gone.

    ``says`` is what it does while it runs.
    """

    status: int | None
    gone: bool
    says: str
    sections: tuple[Section, ...]


def start_script(name: str) -> str:
    """Return the script that starts a job from the archive on its standard input.

    It ends with 1 if a job runs already.
    """
    return PRELUDE + _filled(_START, name)


def archive(script: str, files: Mapping[str, FileChange]) -> bytes:
    """Return the archive of a job: its script and its files, with owner and mode."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.GNU_FORMAT) as tar:
        job = FileChange("job", script.encode(), 0o700)
        for name, file in {"job": job, **files}.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(file.data), file.mode
            entry.uid, entry.gid = file.uid, file.gid
            tar.addfile(entry, io.BytesIO(file.data))
    return data.getvalue()


def follow_script(name: str, told: str) -> str:
    """Return the script that waits a moment for a job's end, and tells how far it is.

    It waits no longer than until the job says something else than ``told``.
    """
    script = _filled(_FOLLOW, name)
    script = script.replace("@looks@", str(SLICE_S * 4)).replace("@most@", str(MOST_LOG))
    return PRELUDE + script.replace("@told@", shlex.quote(told[:_LONGEST])) + END


def _filled(script: str, name: str) -> str:
    return script.replace("@folder@", FOLDER).replace("@name@", shlex.quote(name))


def job_state(sections: tuple[Section, ...]) -> JobState:
    """Return what the follow script told.

    Raises:
        ValueError: the status is no number.
    """
    first = sections[0] if sections else Section("gone", ())
    if first.name == "status":
        # What the job itself wrote has its own end.
        rest = tuple(section for section in sections[1:] if section.name != "end")
        return JobState(int(first.line(0)), False, "", rest)
    return JobState(None, first.name != "running", first.line(0), ())
