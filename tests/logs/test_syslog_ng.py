"""The collector's configuration, unit and container: what is refused, and what has to be in it."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bootwright.core.errors import InputError
from bootwright.core.paths import checkout
from bootwright.core.secret import Secret
from bootwright.core.templates import Renderer
from bootwright.logs.record import escape_unsafe
from bootwright.logs.syslog_ng import (
    CERTIFICATES,
    INDEX_PREFIX,
    PASSWORD_FILE,
    Certificates,
    Forward,
    ServerContainer,
    ServerUnit,
    SyslogServer,
    collector_command,
    collector_config,
    compose_file,
    password_include,
    service_unit,
)
from tests.support.opensearch import field_names, guide_template

RENDERER = Renderer(checkout() / "templates")
PEM = Certificates(Path("/pki/ca.pem"), Path("/pki/cert.pem"), Path("/pki/key.pem"))
COLLECTOR = SyslogServer(Path("/logs"), Path("/run/x"), tls=6514, certificates=PEM)
LOKI = Forward("loki", "https://loki.example:3100")


def test_only_configured_ports_are_open() -> None:
    config = collector_config(COLLECTOR, RENDERER)
    assert re.findall(r"\bport\((\d+)\)", config) == ["6514"]
    assert "peer-verify(required-trusted)" in config
    # TLS 1.2 alone: Debian's OpenSSL refuses what is older by itself, so that no test sees this.
    assert "ssl-options(no-sslv2, no-sslv3, no-tlsv1, no-tlsv11, no-tlsv13)" in config
    assert "udp" not in config
    assert "http(" not in config
    everything = replace(COLLECTOR, tcp=6516, udp=6516, forward=LOKI)
    config = collector_config(everything, RENDERER)
    assert re.findall(r"\bport\((\d+)\)", config) == ["6514", "6516", "6516"]
    assert 'url("https://loki.example:3100/loki/api/v1/push")' in config


def test_nothing_is_stored_of_a_sender_without_room() -> None:
    config = collector_config(replace(COLLECTOR, stopped=("lab.1", "::1")), RENDERER)
    sender = r"""not match('^(?:lab\.1|::1)\z' value(".bw.sender") type("pcre"))"""
    assert sender in config
    assert "not match('^(?:" not in collector_config(COLLECTOR, RENDERER)


def test_without_ports_and_forwarding_syslog_ng_is_not_needed() -> None:
    nothing = SyslogServer(Path("/logs"), Path("/run/x"))
    assert not nothing.needed
    assert replace(nothing, udp=6516).needed
    assert replace(nothing, forward=LOKI).needed
    assert "log {" not in collector_config(nothing, RENDERER)


def test_the_listen_address_selects_the_ip_version() -> None:
    assert 'ip("0.0.0.0") ip-protocol(4)' in collector_config(COLLECTOR, RENDERER)
    assert 'ip("::") ip-protocol(6)' in collector_config(replace(COLLECTOR, listen="::"), RENDERER)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tls": 514}, "1024"),
        ({"udp": 65536}, "1024"),
        ({"tcp": 0}, "1024"),
        ({"tcp": 6514}, "the same"),
        ({"certificates": None}, "certificate"),
        ({"listen": "collector"}, "listen"),
        ({"folder": Path("logs")}, "absolute"),
        ({"folder": Path('/logs") perm(0777')}, "quotes"),
        ({"run": Path("/run/`id`")}, "quotes"),
        ({"folder": Path("/logs/${HOST}")}, "quotes"),
        ({"certificates": replace(PEM, key=Path("/pki/\n"))}, "control"),
        ({"forward": replace(LOKI, url="loki.example:3100")}, "forward_url"),
        ({"forward": replace(LOKI, url="ftp://loki.example")}, "forward_url"),
        ({"forward": replace(LOKI, url="https://")}, "forward_url"),
        ({"forward": replace(LOKI, url="https://me:secret@loki.example")}, "forward_url"),
        ({"forward": replace(LOKI, url="https://loki.example/?a=b")}, "forward_url"),
        ({"forward": replace(LOKI, url='https://loki.example/")')}, "forward_url"),
        ({"forward": replace(LOKI, url="https://loki.example/$HOST")}, "forward_url"),
        ({"forward": replace(LOKI, url="https://loki.example:x")}, "forward_url"),
        ({"forward": replace(LOKI, user='me" x("')}, "user"),
        ({"forward": replace(LOKI, ca_file=Path("ca.pem"))}, "absolute"),
    ],
)
def test_values_that_cannot_be_written_are_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        collector_config(replace(COLLECTOR, **change), RENDERER)


def test_exactly_the_unsafe_characters_are_escaped() -> None:
    config = collector_config(COLLECTOR, RENDERER)
    rules = re.findall(r"subst\('((?:\\x[0-9a-f]{2})+)' \"(#[#0-7]+)\"", config)
    found = {
        bytes.fromhex(pattern.replace("\\x", "")): text
        for pattern, text in rules
        if not pattern.startswith(r"\xff")
    }
    every = (chr(code) for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF)
    assert found == {one.encode(): escape_unsafe(one) for one in every if escape_unsafe(one) != one}
    bytes_alone = {
        bytes.fromhex(pattern[4:].replace("\\x", "")): text
        for pattern, text in rules
        if pattern.startswith(r"\xff")
    }
    assert bytes_alone == {
        bytes([byte]): escape_unsafe(bytes([byte]).decode("utf-8", "surrogateescape"))
        for byte in range(128, 256)
    }


def test_the_pattern_of_blanks_matches_all_blanks() -> None:
    config = collector_config(COLLECTOR, RENDERER)
    match = re.search(r"subst\('([^']+)' \"_\"", config)
    assert match is not None
    found = {bytes.fromhex(one.replace("\\x", "")).decode() for one in match[1].split("|")}
    every = (chr(code) for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF)
    assert found == {one for one in every if re.match(r"\s", one) and escape_unsafe(one) == one}


def test_a_password_is_not_in_the_configuration() -> None:
    forward = Forward("opensearch", "https://search.example:9200/", "me", Path("/pki/search.pem"))
    config = collector_config(replace(COLLECTOR, forward=forward), RENDERER)
    assert 'user("me")' in config
    assert f'@include "/run/x/{PASSWORD_FILE}"' in config
    assert 'url("https://search.example:9200/_bulk")' in config
    assert "password" not in collector_config(replace(COLLECTOR, forward=LOKI), RENDERER)


def test_a_password_cannot_add_other_settings() -> None:
    value = password_include(Secret(b'a"b\\`'))
    assert value.reveal() == b'password("a\\"b\\\\``")\n'
    for wrong in (b"a\nb", b"a\0b", b"a\r"):
        with pytest.raises(InputError, match="one line"):
            password_include(Secret(wrong))


def test_the_command_names_all_its_files() -> None:
    argv = collector_command(COLLECTOR, Path("/run/x/syslog-ng.conf"))
    assert argv[0] == "syslog-ng"
    assert "--no-caps" in argv
    assert [word for word in argv if word.startswith("--") and "=" in word] == [
        "--cfgfile=/run/x/syslog-ng.conf",
        "--persist-file=/run/x/persist",
        "--control=/run/x/ctl",
        "--pidfile=/run/x/pid",
        "--fd-limit=14000",
    ]


def test_the_template_in_the_guide_has_every_field_that_is_sent_to_opensearch() -> None:
    search = Forward("opensearch", "https://search.example:9200")
    config = collector_config(replace(COLLECTOR, forward=search), RENDERER)
    record = config.partition("$(format-json")[2].partition(")")[0]
    sent = set(re.findall(r"(\S+)=\$\{", record))
    template = guide_template()
    mappings = template["template"]["mappings"]
    assert set(field_names(mappings["properties"])) == sent
    assert template["index_patterns"] == [f"{INDEX_PREFIX}-*"]
    # OpenSearch must not guess the types of other fields.
    assert mappings["dynamic"] is False


SERVICE = ServerUnit(
    checkout=Path("/opt/bootwright"),
    user="bootwright",
    logs=Path("/var/log/bootwright"),
    state=Path("/var/lib/bootwright"),
    certificates=Path("/opt/bootwright/pki/current/logs/collectors/collector"),
    pki=Path("/opt/bootwright/pki"),
)


def test_the_unit_is_one_for_systemd(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not here: it comes with systemd")
    inv = tmp_path / ".venv" / "bin" / "inv"
    inv.parent.mkdir(parents=True)
    inv.write_text("#!/bin/sh\n")
    inv.chmod(0o755)
    unit = tmp_path / "bootwright-collector.service"
    unit.write_text(service_unit(replace(SERVICE, checkout=tmp_path), RENDERER))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True
    )
    about = [line for line in done.stderr.splitlines() if unit.name in line]
    assert (done.returncode, about) == (0, [])


def test_the_unit_may_write_only_to_its_own_folders() -> None:
    unit = service_unit(SERVICE, RENDERER).splitlines()
    writable = [line for line in unit if line.startswith("ReadWritePaths=")]
    assert writable == ["ReadWritePaths=/var/log/bootwright /var/lib/bootwright"]
    for line in (
        *("User=bootwright", "NoNewPrivileges=yes", "ProtectSystem=strict", "Restart=on-failure"),
        "ExecStart=/opt/bootwright/.venv/bin/inv logs serve",
    ):
        assert line in unit


def test_the_unit_gets_only_the_files_of_the_collector() -> None:
    unit = service_unit(SERVICE, RENDERER).splitlines()
    own = "/opt/bootwright/pki/current/logs/collectors/collector"
    assert [line for line in unit if "/pki" in line] == [
        f"LoadCredential=ca.pem:{own}/ca.pem",
        f"LoadCredential=cert.pem:{own}/cert.pem",
        f"LoadCredential=key.pem:{own}/key.pem",
        "InaccessiblePaths=-/opt/bootwright/pki",
    ]
    # %d is the folder of these credentials.
    assert "Environment=BOOTWRIGHT_COLLECTOR_CERTIFICATES=%d" in unit


def test_the_exposure_of_the_unit_is_low(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not here: it comes with systemd")
    unit = tmp_path / "bootwright-collector.service"
    unit.write_text(service_unit(SERVICE, RENDERER))
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", unit], capture_output=True, text=True
    )
    level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert level is not None, done.stderr
    assert float(level[1]) <= 2


@pytest.mark.parametrize(
    "change",
    [
        {"user": "root"},
        {"certificates": Path("/opt/pki/%h")},
        {"pki": Path("pki")},
        {"user": "a\nExecStartPre=/bin/true"},
        {"logs": Path("logs")},
        {"logs": Path("/var/log/%h")},
        {"state": Path("/var/lib/a b")},
        {"checkout": Path("/opt/$HOME")},
    ],
)
def test_a_unit_with_special_characters_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        service_unit(replace(SERVICE, **change), RENDERER)


CONTAINER = ServerContainer(
    checkout=Path("/opt/bootwright"),
    certificates=Path("/opt/bootwright/pki/current/logs/collectors/collector"),
    uid=1000,
    gid=1000,
    ports=(6515, 6514),
    udp_ports=(6516,),
)


def yaml(text: str) -> dict[str, Any]:
    """Return what is in a YAML file, as any Python of this machine reads it."""
    script = "import json, sys, yaml; print(json.dumps(yaml.safe_load(sys.stdin)))"
    for python in (sys.executable, "/usr/bin/python3"):
        if shutil.which(python):
            done = subprocess.run(
                [python, "-c", script], input=text, capture_output=True, text=True
            )
            if done.returncode == 0:
                found: dict[str, Any] = json.loads(done.stdout)
                return found
            assert "No module named 'yaml'" in done.stderr, done.stderr
    pytest.skip("no Python here reads YAML: python3-yaml would bring it")


def test_the_container_may_do_nothing_but_collect() -> None:
    found = yaml(compose_file(CONTAINER, RENDERER))
    assert list(found["services"]) == ["collector"]
    service = found["services"]["collector"]
    assert service["user"] == "1000:1000"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["ports"] == ["6515:6515/tcp", "6514:6514/tcp", "6516:6516/udp"]
    binds = [one for one in service["volumes"] if one["type"] == "bind"]
    assert all(one["read_only"] is True for one in binds)
    certificates = service["environment"][CERTIFICATES]
    assert {one["source"]: one["target"] for one in binds} == {
        str(CONTAINER.certificates): certificates,
        "/opt/bootwright/bootwright.toml": "/opt/bootwright/bootwright.toml",
    }
    volumes = {one["source"]: one["target"] for one in service["volumes"] if one not in binds}
    assert set(volumes) == set(found["volumes"]) == {"logs", "state"}
    assert volumes["logs"] == service["environment"]["BOOTWRIGHT_LOGS"]
    assert volumes["state"] == service["environment"]["BOOTWRIGHT_BUILD"]


def test_the_image_is_made_from_debians_packages_and_what_is_pinned() -> None:
    build = yaml(compose_file(CONTAINER, RENDERER))["services"]["collector"]["build"]
    assert build["context"] == "/opt/bootwright"
    lines = build["dockerfile_inline"].splitlines()
    assert lines[0] == "FROM debian:12-slim"
    packages = next(line.split() for line in lines if "syslog-ng" in line)
    assert {"syslog-ng-core", "syslog-ng-mod-http", "python3-venv"} <= set(packages)
    assert any("--require-hashes -r requirements.lock" in line for line in lines)
    # Compose would replace it.
    assert "$" not in build["dockerfile_inline"]


def test_what_is_copied_into_the_image_is_enough(tmp_path: Path) -> None:
    text = compose_file(CONTAINER, RENDERER)
    for source in re.findall(r"COPY (\S+) (?!\./)", text):
        place = checkout() / source
        copy = shutil.copytree if place.is_dir() else shutil.copy
        (tmp_path / source).parent.mkdir(parents=True, exist_ok=True)
        copy(place, tmp_path / source)
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import tasks; import bootwright.core.paths as p; print(p.checkout())",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.stdout.strip() == str(tmp_path), done.stderr
    assert (tmp_path / "templates" / "logs" / "collector.conf.j2").is_file()


@pytest.mark.parametrize(
    "change",
    [
        {"uid": 0},
        {"gid": 0},
        {"base": "debian\n        RUN true"},
        {"certificates": Path("pki")},
        {"checkout": Path('/opt/a"b')},
        {"checkout": Path("/opt/${HOME}")},
    ],
)
def test_a_container_with_special_characters_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        compose_file(replace(CONTAINER, **change), RENDERER)
