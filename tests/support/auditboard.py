"""A board for the script of an audit: an engine that a fake `docker` and a process stand for.

The script runs in namespaces of its own: `/run`, `/etc` and all processes are the test's, so that
nobody else finds the process that is named `dockerd`.
"""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from bootwright.audit import facts_script
from bootwright.audit.facts import AuditFacts, audit_facts
from bootwright.audit.facts_script import audit_script
from bootwright.remote.sections import parse_sections
from tests.support.namespace import namespaced

SECRET = "hunter2hunter2"
USER_ID = 61234

# Answers as docker does, by Go's names of what a template asks for; every call is written down.
DOCKER = r"""
import json, os, re, sys, time
here = os.path.dirname(os.path.abspath(__file__))
answers = json.load(open(here + "/answers.json"))
with open(here + "/calls", "a") as calls:
    calls.write(json.dumps([sys.argv[1:], os.environ.get("DOCKER_HOST")]) + "\n")

def value(row, path):
    for key in path.strip(".").split("."):
        row = row[key]
    return json.dumps(row, separators=(",", ":"))

def filled(row, form):
    text = re.sub(r"\[\{\{\$comma := .*?range \$\w+, \$_ := ([\w.]+)\}\}.*?\{\{end\}\}\]",
                  lambda found: json.dumps(list(json.loads(value(row, found[1])))), form)
    text = re.sub(r"\{\{with \.State\.Health\}\}.*?\{\{end\}\}", "null", text)
    text = re.sub(r"\{\{with \.Healthcheck\}\}.*?\{\{end\}\}\{\{else\}\}null\{\{end\}\}",
                  lambda _: json.dumps(row["Config"]["Healthcheck"]["Test"][0]), text)
    text = re.sub(r"\{\{with \.Config\}\}(.*)\{\{end\}\}",
                  lambda found: found[1].replace("json .User", "json .Config.User"), text)
    text = re.sub(r"\{\{json ([\w.]+)\}\}", lambda found: value(row, found[1]), text)
    assert "{{" not in text, text
    return text

kind, *rest = sys.argv[1:]
if kind in answers["behaves"]:
    exec(answers["behaves"][kind])
if kind == "info":
    print(json.dumps(answers["info"], separators=(",", ":")))
    sys.exit()
if rest[0] == "ls":
    for name in answers["listed"].get(kind, []):
        print(name)
    sys.exit()
assert rest[:2] == ["inspect", "--format"], rest
status = 0
for name in rest[3:]:
    if name in answers[kind]:
        print(filled(answers[kind][name], rest[2]))
    else:
        print(f"Error: No such {kind}: {name}", file=sys.stderr)
        status = 1
sys.exit(status)
"""

BRIDGE = {"Name": "bridge", "Driver": "bridge", "Options": {}, "Containers": {}}


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def container(name: str) -> dict[str, Any]:
    """Return a container with a secret wherever one can be."""
    host: dict[str, Any] = dict.fromkeys(facts_script._HOST_CONFIG, "")
    host |= dict.fromkeys(("Memory", "CPUShares", "NanoCPUs", "CPUQuota", "PidsLimit"), 0)
    host |= dict.fromkeys(("CapAdd", "CapDrop", "Devices", "Ulimits", "SecurityOpt"), None)
    host |= dict.fromkeys(("DeviceCgroupRules", "DeviceRequests"), None)
    host |= {"CPUPeriod": 0, "MaskedPaths": ["/proc/kcore"], "ReadonlyPaths": ["/proc/sys"]}
    host |= {"Privileged": False, "ReadonlyRootfs": False, "RestartPolicy": {"Name": "no"}}
    host |= {"LogConfig": {"Type": "splunk", "Config": {"splunk-token": SECRET}}}
    return {
        "ID": digest(name),
        "Name": f"/{name}",
        "Image": f"sha256:{digest('image')}",
        "Path": SECRET,
        "Args": [SECRET],
        "State": {"Status": "running", "Health": {"Log": [{"Output": SECRET}]}},
        "AppArmorProfile": "",
        "Mounts": [],
        "NetworkSettings": {"Ports": {}, "Networks": {"bridge": {}}},
        "Config": {
            **{"Image": "shell:local", "User": "", "Env": [f"PASSWORD={SECRET}"]},
            **{"Labels": {"token": SECRET}, "Cmd": [SECRET], "Entrypoint": [SECRET]},
            "Healthcheck": {"Test": ["CMD", SECRET]},
        },
        "HostConfig": host,
    }


def image(name: str) -> dict[str, Any]:
    config = {"User": "", "Env": [SECRET], "Healthcheck": {"Test": ["CMD-SHELL", SECRET]}}
    return {"ID": f"sha256:{digest(name)}", "RepoTags": [f"{name}:local"], "Config": config}


class Board:
    """What the script finds: a root of Docker, settings, and the fake `docker`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root, self.tools = folder / "docker", folder / "tools"
        self.etc, self.run = folder / "etc", folder / "run"
        self.images = self.root / "image/overlay2/imagedb/content/sha256"
        for made in (self.tools, self.etc / "docker", self.run, self.root / "containers"):
            made.mkdir(parents=True)
        self.images.mkdir(parents=True)
        # Debian's awk is a link into it.
        alternatives = Path("/etc/alternatives")
        if alternatives.is_dir():
            shutil.copytree(alternatives, self.etc / "alternatives", symlinks=True)
        folder.chmod(0o755)
        (self.etc / "os-release").write_text('ID=debian\nPRETTY_NAME="Debian of the test"\n')
        (self.etc / "passwd").write_text(
            f"root:x:0:0::/root:/bin/sh\nmia:x:{USER_ID}:{USER_ID}::{folder}/mia:/bin/sh\n"
        )
        (self.etc / "group").write_text("root:x:0:\n")
        self.tool("docker", DOCKER, sys.executable)
        self.tool("systemctl", "exit 0")
        shutil.copy("/bin/sleep", self.tools / "dockerd")
        self.answers: dict[str, Any] = {
            "info": {
                **{"ServerVersion": "29.1.0", "DockerRootDir": str(self.root)},
                "Driver": "overlay2",
            },
            **{"container": {}, "image": {}, "network": {"bridge": BRIDGE}},
            **{"listed": {}, "behaves": {}},
        }

    def tool(self, name: str, script: str, shell: str = "/bin/sh") -> None:
        path = self.tools / name
        path.write_text(f"#!{shell}\n{script}\n")
        path.chmod(0o755)

    def has(self, name: str) -> None:
        """Have a container."""
        self.answers["container"][digest(name)] = container(name)
        (self.root / "containers" / digest(name)).mkdir()

    def has_image(self, name: str, *history: str) -> None:
        """Have an image that was made by these instructions."""
        self.answers["image"][digest(name)] = image(name)
        rows = [{"created": "2026-11-26T00:00:00Z", "created_by": one} for one in history]
        text = json.dumps({"history": rows}, separators=(",", ":"))
        (self.images / digest(name)).write_text(text)

    def behaves(self, kind: str, code: str) -> None:
        """Do something else than answering when asked for ``info``, ``container`` …"""
        self.answers["behaves"][kind] = code

    def report(self, before: str = "", *, owner: int = 0, daemon: bool = True) -> str:
        """Run the script, with a daemon of the owner; ``before`` is run before."""
        (self.tools / "answers.json").write_text(json.dumps(self.answers))
        (self.tools / "calls").write_text("")
        (self.tools / "calls").chmod(0o666)
        starts = f"setpriv --reuid={owner} --clear-groups {self.tools}/dockerd 300 &\n"
        waits = 'until read -r name </proc/$!/comm && [ "$name" = dockerd ]; do :; done\n'
        script = (
            f"{starts + waits if daemon else ''}{before}\n"
            f"{audit_script(['/etc/docker', '/nosuch'])}"
        )
        folders = {"/etc": self.etc, "/run": self.run}
        done = subprocess.run(
            namespaced(folders, "sh", "-c", script, processes=True),
            env={"PATH": f"{self.tools}:/usr/bin:/bin"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        # Nothing of it stays behind.
        assert list(self.run.glob("bootwright.*")) == []
        return done.stdout

    def facts(self, before: str = "", *, owner: int = 0, daemon: bool = True) -> AuditFacts:
        return audit_facts(parse_sections(self.report(before, owner=owner, daemon=daemon)))

    @property
    def calls(self) -> list[list[str]]:
        return [argv for argv, _ in self._calls()]

    @property
    def sockets(self) -> set[str | None]:
        return {socket for _, socket in self._calls()}

    def _calls(self) -> list[tuple[list[str], str | None]]:
        return [json.loads(line) for line in (self.tools / "calls").read_text().splitlines()]
