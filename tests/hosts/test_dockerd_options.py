"""A command line of dockerd is read as pflag and the engine read it."""

import pytest

from bootwright.hosts.dockerd_options import (
    BOOLEANS,
    is_default_socket,
    is_tcp,
    parse_flags,
    read_flags,
    typed,
    without_key,
)
from tests.support.host_facts import PROFILE


@pytest.mark.parametrize(
    ("line", "key", "values"),
    [
        ("--icc=false", "icc", ("false",)),
        ("--icc", "icc", ("true",)),
        # A flag that is true or false takes no further word.
        ("--icc false", "icc", ("true",)),
        ("--iptables --icc=false", "iptables", ("true",)),
        ("--tlsverify -H tcp://:1", "tlsverify", ("true",)),
        # One with a value takes the next word, whatever it is.
        ("--log-opt --tlsverify", "log-opts", ("--tlsverify",)),
        ("-H fd:// --host=tcp://:2376 -Htcp://:1", "hosts", ("fd://", "tcp://:2376", "tcp://:1")),
        ("--host tcp://:1 -H=tcp://:2", "hosts", ("tcp://:1", "tcp://:2")),
        ("-g /srv", "data-root", ("/srv",)),
        ("-g/srv", "data-root", ("/srv",)),
        ("--graph=/srv", "data-root", ("/srv",)),
        ("--graph /srv", "data-root", ("/srv",)),
        ("--data-root /srv", "data-root", ("/srv",)),
        ("-s vfs", "storage-driver", ("vfs",)),
        ("-ldebug", "log-level", ("debug",)),
        ("-l=debug", "log-level", ("debug",)),
        ("-l debug", "log-level", ("debug",)),
        ("-D", "debug", ("true",)),
        ("-D=false", "debug", ("false",)),
        ("-DH tcp://:1", "hosts", ("tcp://:1",)),
        ("-DHtcp://:1", "debug", ("true",)),
        ("--insecure-registry a:1 --insecure-registry=b:2", "insecure-registries", ("a:1", "b:2")),
        ("--authorization-plugin opa", "authorization-plugins", ("opa",)),
        # No engine has this one.
        ("--newer -H tcp://:1", "hosts", ("tcp://:1",)),
        ("--newer=x -H tcp://:1", "hosts", ("tcp://:1",)),
    ],
)
def test_a_command_line(line: str, key: str, values: tuple[str, ...]) -> None:
    assert parse_flags(("/usr/sbin/dockerd", *line.split()))[key] == values


def test_words_that_are_no_flags() -> None:
    assert parse_flags(("dockerd", "$DOCKER_OPTS", "--", "--icc=false")) == {}


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("-H fd:// --icc $DOCKER_OPTS", "--icc $DOCKER_OPTS"),
        ("-Htcp://:1 --host=a --host b -H=c -DH d -l x", "-D -l x"),
        ("--containerd=/run/c.sock -H fd://", "--containerd=/run/c.sock"),
        ("--help-me -H fd://", "--help-me"),
    ],
)
def test_a_command_line_without_the_addresses(line: str, kept: str) -> None:
    assert without_key(("dockerd", *line.split()), "hosts") == ("dockerd", *kept.split())


def test_no_word_is_lost() -> None:
    words = ("dockerd", "-H", "fd://", "-l=x", "--icc", "$DOCKER_OPTS", "--label", "a=b", "--", "x")
    assert tuple(word for flag in read_flags(words) for word in flag.words) == words[1:]


def test_flags_that_are_true_or_false_are_so_in_daemon_json() -> None:
    keys = {key.name for key in PROFILE.engine.key if key.type == "bool"}
    only_flags = {"help", "validate", "version"}
    assert keys == BOOLEANS - only_flags


def test_values_in_the_types_of_daemon_json() -> None:
    assert typed(("true", "F"), True) is False
    assert typed(("a", "b"), []) == ["a", "b"]
    assert typed(("tag=a=b",), {}) == {"tag": "a=b"}
    assert typed(("a", "b"), "") == "b"


@pytest.mark.parametrize(
    ("address", "tcp", "default"),
    [
        ("fd://", False, True),
        ("fd://docker.socket", False, True),
        ("unix://", False, True),
        ("unix:///var/run/docker.sock", False, True),
        ("unix:///run//docker.sock", False, True),
        ("unix:///run/other.sock", False, False),
        ("", False, True),
        ("tcp://0.0.0.0:2375", True, False),
        ("0.0.0.0:2375", True, False),
        (":2375", True, False),
        ("localhost", True, False),
        (" tcp://:1 ", True, False),
    ],
)
def test_an_address_of_the_api(address: str, tcp: bool, default: bool) -> None:
    assert (is_tcp(address), is_default_socket(address)) == (tcp, default)
