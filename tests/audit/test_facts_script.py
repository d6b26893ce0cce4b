"""The script that an audit runs on a board, against an engine that a fake `docker` stands for."""

import base64
import gzip
import json
import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from bootwright.audit import facts_script
from bootwright.audit.benchmark import load_checks
from bootwright.audit.checks.evaluate import evaluate
from bootwright.audit.facts import AuditFacts, audit_facts
from bootwright.audit.model import Evaluation
from bootwright.core.paths import checkout
from bootwright.remote.sections import parse_sections
from tests.support.auditboard import SECRET, USER_ID, Board, digest, image
from tests.support.auditfacts import subject
from tests.support.namespace import need_namespaces

pytestmark = pytest.mark.integration

CHECKS = load_checks(checkout() / "checks" / "cis-docker")


@pytest.fixture
def board(tmp_path: Path) -> Board:
    need_namespaces("setpriv")
    return Board(tmp_path / "board")


def evaluated(facts: AuditFacts) -> dict[str, Evaluation]:
    checked, _ = evaluate(subject(facts), CHECKS, (), "board")
    return {one.check.id: one.evaluation for one in checked}


def test_500_containers_cost_as_many_calls_as_one(board: Board) -> None:
    for number in range(500):
        board.has(f"c{number}")
    board.has_image("image", "base")
    text = board.report()
    facts = audit_facts(parse_sections(text))
    assert {one.name for one in facts.containers or ()} == {f"c{n}" for n in range(500)}
    assert [one.name for one in facts.images or ()] == ["image:local"]
    assert facts.troubles == {}
    assert sorted(call[0] for call in board.calls) == ["container", "image", "info", "network"]
    assert len(text) < 200_000


def test_folders_that_are_the_same_are_reported(board: Board) -> None:
    assert board.facts().same_folders["/var/run"] == "/run"


def test_no_secret_leaves_the_board(board: Board) -> None:
    board.has("c")
    board.has_image("image", "base", f"|1 PASSWORD={SECRET} /bin/sh -c make", f"ENV A={SECRET}")
    (board.etc / "environment").write_text(f"TOKEN={SECRET}\n")
    settings = {
        "log-opts": {"splunk-token": f'{SECRET}"\\', "splunk-url": "https://logs.example"},
        "proxies": {"http-proxy": f"http://me:{SECRET}@proxy.example:3128"},
        "icc": False,
    }
    (board.etc / "docker/daemon.json").write_text(json.dumps(settings, indent=1))
    board.answers["info"]["HttpProxy"] = f"http://me:{SECRET}@proxy.example:3128"
    board.answers["info"]["Labels"] = [f"password={SECRET}"]
    text = board.report()
    facts = audit_facts(parse_sections(text))
    assert len(facts.containers or ()) == len(facts.images or ()) == 1
    assert facts.daemon_json == {
        "log-opts": {"splunk-token": "***", "splunk-url": "https://logs.example"},
        "proxies": {"http-proxy": "http://***@proxy.example:3128"},
        "icc": False,
    }
    assert (facts.images or ())[0].healthcheck
    packed = re.findall(r"== \S+\.gz\n((?:\|.*\n)+)", text)
    assert len(packed) == 5
    data = [gzip.decompress(base64.b64decode(one.replace("|", ""))).decode() for one in packed]
    assert SECRET not in text + "".join(data)
    asked = {word for call in board.calls for word in re.findall(r"\.[A-Z][\w.]*", " ".join(call))}
    assert ".HostConfig.LogConfig.Type" in asked
    secret = r"\.(Env|Labels|Cmd|Entrypoint|Path|Args|Log|Config|LogConfig|Options)"
    # An image's settings and a network's options are entered for what is harmless in them.
    assert {one for one in asked if re.search(f"{secret}$", one)} == {".Config", ".Options"}


def test_a_container_that_was_removed_in_the_meantime_is_left_out(board: Board) -> None:
    for name in ("stays", "goes"):
        board.has(name)
    del board.answers["container"][digest("goes")]
    facts = board.facts()
    assert [one.name for one in facts.containers or ()] == ["stays"]
    assert facts.troubles == {}


def test_an_engine_that_stops_is_not_taken_for_a_removed_container(board: Board) -> None:
    board.has("c")
    socket = "Cannot connect: dial unix /run/docker.sock: connect: no such file or directory"
    board.behaves("container", f"sys.exit({socket!r})")
    board.behaves("network", f"sys.exit({socket!r})")
    facts = board.facts()
    assert (facts.containers, facts.networks) == (None, None)
    assert facts.troubles == {"containers": socket, "networks": socket}
    assert evaluated(facts)["5.4"].result == "skipped"


def test_no_container_differs_from_no_answer(board: Board) -> None:
    facts = board.facts()
    assert (facts.containers, facts.images, facts.troubles) == ((), (), {})
    assert evaluated(facts)["5.4"].result == "info"


@pytest.mark.parametrize(
    "deaf", ["", "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"]
)
def test_a_hanging_docker_is_ended(
    board: Board, monkeypatch: pytest.MonkeyPatch, deaf: str
) -> None:
    monkeypatch.setattr(facts_script, "WAIT_S", 1)
    board.has("c")
    board.behaves("info", f"{deaf}\ntime.sleep(600)")
    facts = board.facts()
    assert facts.troubles == {"info": "no answer within 1 s"}
    found = evaluated(facts)
    assert [check for check in found if found[check].result == "pass" and check[0] in "4567"] == []
    assert found["5.4"].result == "skipped"
    assert "no answer within 1 s" in found["5.4"].evidence


def test_a_hanging_inspection_loses_only_its_own_facts(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts_script, "WAIT_S", 3)
    for name in ("c", "d"):
        board.has(name)
    board.has_image("image", "base")
    board.behaves("container", "print('{}', flush=True); time.sleep(600)")
    facts = board.facts()
    assert facts.troubles == {"containers": "no answer within 3 s"}
    assert facts.containers is None
    assert len(facts.images or ()) == 1


def test_the_message_of_a_failing_docker_is_reported(board: Board) -> None:
    board.behaves("info", "sys.exit('permission denied\\n' + 'by \\x1b[31m everybody ' * 9999)")
    text = board.report()
    assert len(text) < 20_000
    facts = audit_facts(parse_sections(text))
    assert facts.info is None
    assert facts.troubles["info"].startswith("permission denied by")
    assert len(facts.troubles["info"]) <= 300
    assert "permission denied" in evaluated(facts)["5.4"].evidence


@pytest.mark.parametrize("kind", ["info", "container"])
def test_endless_output_of_docker_is_cut(
    board: Board, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(facts_script, "MAX_FACT_BYTES", 1024 * 1024)
    board.has("c")
    # As SIGXFSZ does with any program but Python.
    flood = "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n"
    board.behaves(kind, flood + "while True: sys.stdout.write('x' * 65536)")
    text = board.report()
    assert len(text) < 20_000
    facts = audit_facts(parse_sections(text))
    assert facts.troubles == {f"{kind}s".replace("infos", "info"): "the answer is too long"}
    assert facts.containers is None


def test_names_with_odd_characters(board: Board) -> None:
    names = ['a "b" $(id) `id` \\n %s', "é\n== end\n|x", "-rf", "\x1b[2J"]
    for name in names:
        board.has(name)
    facts = board.facts()
    found = {one.name for one in facts.containers or ()}
    assert found == {names[0], "é\ufffd== end\ufffd|x", "-rf", "\ufffd[2J"}


@pytest.mark.parametrize(
    ("history", "adds", "updates"),
    [
        (["/bin/sh -c #(nop) ADD file:1 in / "], 0, 0),
        (["base", "/bin/sh -c #(nop) ADD file:1 in / "], 1, 0),
        (["base", "ADD x.tar / # buildkit", "COPY y / # buildkit"], 1, 0),
        (["base", "RUN /bin/sh -c apt-get update # buildkit"], 0, 1),
        (["base", "/bin/sh -c apt-get -qq update"], 0, 1),
        (["base", "RUN /bin/sh -c apt-get update && apt-get install -y x # buildkit"], 0, 0),
        (["base", "RUN /bin/sh -c apk update", "RUN /bin/sh -c apk update && apk add x"], 0, 1),
        (["base", 'RUN /bin/sh -c echo "ADD \\"x\\"" # buildkit'], 0, 0),
        (["base", 'RUN /bin/sh -c echo \'"created_by":"ADD \''], 0, 0),
    ],
)
def test_history_is_counted(board: Board, history: list[str], adds: int, updates: int) -> None:
    board.has_image("image", *history)
    (found,) = board.facts().images or ()
    assert (found.adds, found.updates) == (adds, updates)


def test_images_of_containerd_are_reported_once_and_without_history(board: Board) -> None:
    shutil.rmtree(board.root / "image")
    board.answers["image"][digest("image")] = image("image")
    board.answers["listed"]["image"] = [digest("image")] * 2
    facts = board.facts()
    (found,) = facts.images or ()
    assert (found.adds, found.updates) == (None, None)
    assert evaluated(facts)["4.9"].result == "skipped"


def test_networks_of_a_swarm_that_cannot_be_listed(board: Board) -> None:
    (board.root / "swarm").mkdir()
    (board.root / "swarm/state.json").touch()
    board.behaves("network", "if rest[0] == 'ls': sys.exit('the swarm has no leader')")
    facts = board.facts()
    assert facts.networks is None
    assert facts.troubles == {"networks": "the swarm has no leader"}


def test_a_stopped_engine_is_not_asked_since_systemd_would_start_it(board: Board) -> None:
    board.has("c")
    board.tool(
        "systemctl", "printf 'Id=docker.service\\nLoadState=loaded\\nActiveState=inactive\\n'"
    )
    facts = board.facts(daemon=False)
    assert board.calls == []
    assert facts.engine_owner is None
    assert facts.units["docker.service"].active == "inactive"
    assert "does not run" in evaluated(facts)["5.4"].evidence


def test_a_daemon_in_a_container_is_not_the_boards(board: Board) -> None:
    inner = f"unshare --pid --fork --kill-child {board.tools}/dockerd 300 &\n"
    waits = "until grep -lx dockerd /proc/[0-9]*/comm; do :; done >/dev/null 2>&1"
    facts = board.facts(inner + waits, daemon=False)
    assert facts.engine_owner is None
    assert board.calls == []


def test_a_daemon_that_has_ended_is_skipped(board: Board) -> None:
    # Its parent does not ask how, so that it stays as a zombie with a name and no command line.
    ends = (
        f"{sys.executable} -c 'import os, shutil, time\n"
        f"pid = os.fork()\n"
        f'if not pid: os.execl("{board.tools}/dockerd", "dockerd", "0")\n'
        f"os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)\n"
        f'open("{board.folder}/ended", "w")\n'
        f"time.sleep(300)' &\n"
        f"until [ -e {board.folder}/ended ]; do :; done"
    )
    facts = board.facts(ends, daemon=False)
    assert facts.engine_owner is None
    assert board.calls == []


def test_a_rootless_daemon_has_a_socket_and_settings_of_its_users(board: Board) -> None:
    (board.etc / "docker/daemon.json").write_text('{"icc": true}')
    own = board.folder / "mia/.config/docker/daemon.json"
    own.parent.mkdir(parents=True)
    own.write_text('{"icc": false}')
    board.has("c")
    facts = board.facts(owner=USER_ID)
    assert facts.engine_owner == USER_ID
    assert board.sockets == {f"unix:///run/user/{USER_ID}/docker.sock"}
    assert facts.settings == str(own)
    assert facts.daemon_json == {"icc": False}
    assert len(facts.containers or ()) == 1


def test_an_sshd_in_a_container(board: Board) -> None:
    board.has("c")
    shutil.copy("/bin/sleep", board.tools / "sshd")
    # Which container a process is in, its control group says: here a file laid over the kernel's.
    (board.folder / "cgroup").write_text(f"0::/system.slice/docker-{digest('c')}.scope\n")
    starts = (
        f"{board.tools}/sshd 300 & until grep -qx sshd /proc/$!/comm; do :; done\n"
        f"mount --bind {shlex.quote(str(board.folder / 'cgroup'))} /proc/$!/cgroup"
    )
    facts = board.facts(starts)
    assert facts.sshd_containers == {digest("c")}
    assert evaluated(facts)["5.7"].result == "warn"


def test_a_volume_that_is_a_bind_mount_has_the_hosts_folder(board: Board) -> None:
    board.has("web")
    mount = {"Type": "volume", "RW": True, "Destination": "/x", "Propagation": ""}
    board.answers["container"][digest("web")]["Mounts"] = [
        {**mount, "Name": name, "Source": f"{board.root}/volumes/{name}/_data"}
        for name in ("hidden", "share", "plain")
    ]
    options = {
        "hidden": {"MountType": "none", "MountOpts": "o=bind", "MountDevice": "/etc"},
        "share": {"MountType": "cifs", "MountOpts": f"password={SECRET}", "MountDevice": "//a/b"},
    }
    for name, one in options.items():
        (board.root / "volumes" / name).mkdir(parents=True)
        text = json.dumps(one, separators=(",", ":"))
        (board.root / "volumes" / name / "opts.json").write_text(text)
    assert SECRET not in board.report()
    (web,) = board.facts().containers or ()
    sources = [mount.source.removeprefix(str(board.root)) for mount in web.mounts]
    assert sources == ["/etc", "/volumes/share/_data", "/volumes/plain/_data"]
    assert evaluated(board.facts())["5.6"].result == "warn"


def test_a_users_program_of_that_name_is_not_taken_for_the_daemon(board: Board) -> None:
    board.has("c")
    # It was started first, as it is after every restart of the daemon.
    forged = f"{board.tools}/dockerd 300 & until grep -qx dockerd /proc/$!/comm; do :; done"
    facts = board.facts(forged, owner=USER_ID)
    assert facts.engine_owner == 0
    assert facts.daemons == 1
    assert board.sockets == {"unix:///run/docker.sock"}
    assert facts.settings == "/etc/docker/daemon.json"


def test_a_pipe_in_place_of_daemon_json_is_not_read(board: Board) -> None:
    pipe = board.folder / "mia/.config/docker/daemon.json"
    pipe.parent.mkdir(parents=True)
    os.mkfifo(pipe)
    facts = board.facts(owner=USER_ID)
    assert facts.daemon_json is None


def test_a_docker_context_does_not_select_the_engine(board: Board) -> None:
    elsewhere = "export DOCKER_HOST=tcp://192.0.2.1:2376 DOCKER_CONTEXT=other DOCKER_TLS_VERIFY=1"
    board.facts(elsewhere)
    assert board.sockets == {"unix:///run/docker.sock"}
    (board.etc / "docker/daemon.json").write_text('{"hosts": ["unix:///run/other.sock"]}')
    board.facts()
    assert board.sockets == {"unix:///run/other.sock"}


def test_images_of_an_earlier_storage_driver_do_not_hide_others(board: Board) -> None:
    board.has_image("new")
    old = board.root / "image/aufs/imagedb/content/sha256"
    old.mkdir(parents=True)
    (old / digest("old")).write_text("{}")
    (new,) = board.facts().images or ()
    assert new.id == f"sha256:{digest('new')}"
    # The engine knows of one, and no file of its is found.
    shutil.rmtree(board.images)
    board.images.mkdir()
    board.answers["info"]["Images"] = 1
    facts = board.facts()
    assert facts.images is None
    assert "docker info counts 1" in facts.troubles["images"]
    assert evaluated(facts)["4.6"].result == "skipped"


def test_symbolic_links_are_resolved(board: Board) -> None:
    board.has("web")
    (board.folder / "link").symlink_to("/etc")
    mount = {"Type": "bind", "RW": True, "Destination": "/x", "Propagation": "rprivate"}
    board.answers["container"][digest("web")]["Mounts"] = [
        {**mount, "Source": str(board.folder / "link")},
        {**mount, "Source": str(board.folder / "link" / "not-there")},
        {**mount, "Source": "/srv"},
    ]
    facts = board.facts()
    (web,) = facts.containers or ()
    assert [mount.source for mount in web.mounts] == ["/etc", "/etc/not-there", "/srv"]
    assert evaluated(facts)["5.6"].result == "warn"


@pytest.mark.parametrize("made_with", [True, False])
def test_the_options_of_a_containers_creation_are_used(board: Board, made_with: bool) -> None:
    board.has("c")
    # A text in the value may look like a key, but its quotes are escaped.
    text = json.dumps(
        {"Args": ['"NoNewPrivileges":true'], "NoNewPrivileges": made_with}, separators=(",", ":")
    )
    (board.root / "containers" / digest("c") / "config.v2.json").write_text(text)
    (container,) = board.facts().containers or ()
    assert container.no_new_privileges is made_with


def test_the_group_of_the_socket_is_that_of_docker(board: Board) -> None:
    (board.etc / "group").write_text("root:x:0:\ndocker:x:990:ann\nusers:x:100:bob,mia\n")
    made = f"touch {board.run}/docker.sock; chgrp 100 /run/docker.sock"
    assert board.facts(made).docker_group == ("ann", "bob", "mia")
