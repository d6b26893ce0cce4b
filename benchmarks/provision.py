"""Time provisioning with nothing to do, compared with pyinfra and with ``ssh host true``.

    .venv/bin/python benchmarks/provision.py [--runs N] [--boards N] [--identity FILE]

The board is the running emulator, provisioned (scripts/demo makes a card for it):

    inv emulate --device build/demo/card.img; inv unlock emulator …; inv provision emulator

1. On that board, alternately: ``ssh host true``; ``inv provision emulator`` with nothing to do; and
   the same desired state written for pyinfra (``provision_peer.py``), which also has nothing to do
   after its first run. pyinfra is installed from the Python package index into a venv in the cache.
2. Simulated boards: real SSH servers on 127.0.0.1 that answer what the emulated board answered, and
   after the same time: one, and ten in parallel by one ``inv provision``.
"""

import argparse
import contextlib
import json
import os
import shlex
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator, Sequence
from pathlib import Path

from bootwright.core import paths
from bootwright.core.endpoints import Endpoint, SshEndpoint
from bootwright.core.templates import Renderer
from bootwright.emulator.io.qemu import emulator_dir
from bootwright.hosts import resolve
from bootwright.hosts.profile import load_profile
from bootwright.provision.desired_state import DesiredState
from bootwright.provision.facts import host_facts
from bootwright.provision.facts_script import host_script
from bootwright.provision.packages import plan_packages
from bootwright.provision.plan import plan_provision, questions_for
from bootwright.remote.io.connection import Remote
from bootwright.remote.io.wait import wait_for_ssh
from bootwright.remote.openssh_argv import known_hosts_text, ssh_argv
from bootwright.remote.sections import parse_sections

PYINFRA = "pyinfra==3.10.0"

INV = str(Path(sys.executable).parent / "inv")


def timed(argv: Sequence[str], env: dict[str, str] | None = None) -> float:
    # Both are Python programs: they may store bytecode, as on an operator's machine.
    whole = {**os.environ, **(env or {})}
    whole.pop("PYTHONDONTWRITEBYTECODE", None)
    begin = time.monotonic()
    done = subprocess.run(
        list(argv), env=whole, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode != 0:
        sys.exit(f"{shlex.join(argv)}\nended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return time.monotonic() - begin


def pyinfra() -> str:
    """Return the path of the program pyinfra, which is installed into a venv for it."""
    folder = paths.cache_dir() / "benchmarks" / PYINFRA.replace("==", "-")
    program = folder / "bin" / "pyinfra"
    if not program.exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([folder / "bin" / "pip", "install", "--quiet", PYINFRA], check=True)
    return str(program)


def desired_for_peer(desired: DesiredState, facts_text: str) -> dict[str, object]:
    """Return the state of the provisioned board as the desired state for pyinfra."""
    facts = host_facts(parse_sections(facts_text))
    plan = plan_provision(desired, facts)
    assert plan.nothing, [step.name for step in plan.to_do]
    assert plan_packages(desired, facts) is None
    ours = [
        "/etc/docker/daemon.json",
        "/etc/systemd/system/docker.service.d/60-bootwright.conf",
        "/etc/audit/rules.d/50-bootwright-docker.rules",
    ]
    packages = [package.debian for package in desired.profile.host.package if not package.optional]
    return {
        "packages": packages,
        "files": {
            path: (facts.files.text(path), f"{facts.files.files[path].mode:o}") for path in ours
        },
        "modes": [
            (path, file.owner, file.mode)
            for file in desired.profile.files.file
            for path in file.paths
            if path in facts.modes
        ],
        "sshd": {"PasswordAuthentication": "no", "PermitRootLogin": "prohibit-password"},
        "hostname": desired.target.hostname,
    }


def on_the_board(runs: int, endpoint: Endpoint, identity: str, peer: dict[str, object]) -> None:
    ssh = endpoint.ssh
    assert ssh is not None
    with tempfile.TemporaryDirectory() as folder:
        known = Path(folder) / "known_hosts"
        known.write_text(known_hosts_text(endpoint.name, ssh))
        true = ssh_argv(endpoint.name, ssh, known, "true")
        ours = [INV, "provision", "emulator", "--identity", identity]
        inventory = Path(folder) / "inventory.py"
        data = {
            "ssh_port": ssh.port,
            "ssh_user": "root",
            "ssh_key": str(Path(identity).absolute()),
            "ssh_strict_host_key_checking": "off",
        }
        inventory.write_text(f"hosts = [('127.0.0.1', {data!r})]\n")
        deploy = Path(__file__).with_name("provision_peer.py")
        theirs = [pyinfra(), "-y", str(inventory), str(deploy)]
        env = {**os.environ, "BOOTWRIGHT_WISHES": json.dumps(peer), "HOME": folder}
        print(f"pyinfra's first run: {timed(theirs, env):.1f} s (not counted)")
        times: dict[str, list[float]] = {"ssh host true": [], "inv provision": [], "pyinfra": []}
        for _ in range(runs):
            times["ssh host true"].append(timed(true))
            times["inv provision"].append(timed(ours))
            times["pyinfra"].append(timed(theirs, env))
    for name, taken in times.items():
        print(f"{name:14} median {statistics.median(taken):.2f} s, best {min(taken):.2f} s")
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    ratio = medians["inv provision"] / medians["ssh host true"]
    print(f"inv provision is {ratio:.2f} × ssh host true")
    print(f"pyinfra is {medians['pyinfra'] / medians['inv provision']:.1f} × inv provision")


@contextlib.contextmanager
def simulated(count: int, answer: str, delay: float, folder: Path) -> Iterator[list[int]]:
    """Run SSH servers that print a recorded answer to every command, after a delay in seconds."""
    (folder / "answer").write_text(answer)
    for name in ("host", "id"):
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(argv, check=True)
    script = folder / "answers"
    script.write_text(f"#!/bin/sh\nsleep {delay:.2f}\nexec cat {folder}/answer\n")
    script.chmod(0o755)
    folder.chmod(0o711)
    Path("/run/sshd").mkdir(exist_ok=True)
    servers, ports = [], []
    try:
        for number in range(count):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            config = folder / f"sshd{number}"
            config.write_text(
                f"HostKey {folder}/host\nPort {port}\nListenAddress 127.0.0.1\nUsePAM no\n"
                f"StrictModes no\nAuthorizedKeysFile {folder}/id.pub\nPidFile none\n"
                f"PermitRootLogin prohibit-password\nForceCommand {script}\nUseDNS no\n"
            )
            argv = ["/usr/sbin/sshd", "-D", "-q", "-f", str(config)]
            servers.append(subprocess.Popen(argv, stdin=subprocess.DEVNULL))
            ports.append(port)
        for port in ports:
            wait_for_ssh(SshEndpoint("127.0.0.1", port), 20)
        yield ports
    finally:
        for server in servers:
            server.terminate()
            server.wait()


def in_parallel(runs: int, boards: int, answer: str, delay: float) -> None:
    root = paths.checkout()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # A temporary checkout, whose targets are these boards.
        for part in ("board", "bootwright", "profiles", "rootfs", "scripts", "templates"):
            # Copied and not linked, because the checkout is found by the real path of the package.
            shutil.copytree(root / part, folder / part)
        shutil.copy(root / "tasks.py", folder)
        env = {**os.environ, "PYTHONPATH": name, "BOOTWRIGHT_BUILD": str(folder / "build")}
        (folder / "build" / "host-keys").mkdir(parents=True)
        with simulated(boards, answer, delay, folder) as ports:
            public = (folder / "host.pub").read_text()
            text = ""
            for number, port in enumerate(ports):
                text += (
                    f'[targets.box{number}]\nboard = "odroid-xu3"\nrootfs = "debian"\n'
                    f'hostname = "odroid"\nhost = "127.0.0.1"\nport = {port}\n'
                    f'identity_file = "{folder}/id"\n'
                )
                (folder / "build" / "host-keys" / f"box{number}").write_text(public)
            (folder / "bootwright.toml").write_text(text)
            names = [f"box{number}" for number in range(boards)]
            one, ten = [], []
            os.chdir(folder)
            for _ in range(runs):
                one.append(timed([INV, "provision", names[0]], env))
                ten.append(timed([INV, "provision", *names, "--parallel", str(boards)], env))
            os.chdir(root)
    first, all_of_them = statistics.median(one), statistics.median(ten)
    print(f"one simulated board (answers after {delay:.1f} s): median {first:.2f} s")
    print(f"{boards} of them in parallel: median {all_of_them:.2f} s, {all_of_them / first:.2f} ×")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--boards", type=int, default=10)
    parser.add_argument("--identity", default="build/demo/id")
    options = parser.parse_args()
    if not (emulator_dir() / "state.json").is_file():
        sys.exit("no emulator runs: see the head of this file")
    endpoint = resolve.endpoint_of("emulator", options.identity)
    target = resolve.target_of("emulator")
    profile = load_profile(paths.checkout() / "profiles")
    renderer = Renderer(paths.checkout() / "templates")
    desired = DesiredState(target=target, login="root", profile=profile, renderer=renderer)
    with Remote(endpoint) as board:
        script = host_script(questions_for(profile))
        board.run(script, title="facts", sudo=True, timeout=60)
        begin = time.monotonic()
        answer = board.run(script, title="facts", sudo=True, timeout=60).text
        delay = time.monotonic() - begin
    on_the_board(options.runs, endpoint, options.identity, desired_for_peer(desired, answer))
    in_parallel(options.runs, options.boards, answer, delay)


if __name__ == "__main__":
    main()
