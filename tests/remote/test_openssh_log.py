"""What is read from the messages of OpenSSH's client, as its versions write them."""

import pytest

from bootwright.remote.openssh_log import (
    CONNECTED,
    ClientLog,
    Failure,
    agent_hangs,
    configuration_error,
    failure_of,
    lines_of,
    login_refused,
    why_unreachable,
)

KEY = "ED25519 SHA256:KXpa4/tMWrbOHAtyczJgacn8nCfSU+NDRRQd+o17YNU"
SHOWN = f"debug1: Server host key: ssh-{KEY.replace('ED', 'ed', 1)}"
NEW_KEYS = "debug1: SSH2_MSG_NEWKEYS received"
PROXY_ENDED = (
    "kex_exchange_identification: Connection closed by remote host",
    "Connection closed by UNKNOWN port 65535",
)


def log(*lines: str) -> ClientLog:
    return ClientLog(("OpenSSH_9.2p1 Debian-2, OpenSSL 3.0.19", *lines))


@pytest.mark.parametrize(
    ("lines", "failure"),
    [
        (
            ("/c line 2: no argument", "/c: terminating, 1 bad configuration options"),
            Failure.CONFIGURATION,
        ),
        (("command-line: line 0: Bad configuration option: x",), Failure.CONFIGURATION),
        (("Bad owner or permissions on /home/mia/.ssh/config",), Failure.CONFIGURATION),
        (("jumphost loop via jump",), Failure.CONFIGURATION),
        (
            (
                "No ED25519 host key is known for board and you have requested strict checking.",
                "Host key verification failed.",
            ),
            Failure.UNKNOWN_KEY,
        ),
        # The same of a jump host: nobody is asked about its key here.
        (
            (
                "No ED25519 host key is known for jump and you have requested strict checking.",
                "Host key verification failed.",
                *PROXY_ENDED,
            ),
            Failure.WRONG_KEY,
        ),
        (
            (
                "Host key for board has changed and you have requested strict checking.",
                "Host key verification failed.",
            ),
            Failure.WRONG_KEY,
        ),
        (("mia@127.0.0.1: Permission denied (publickey).",), Failure.LOGIN),
        (
            ("Received disconnect from 127.0.0.1 port 22:2: Too many authentication failures",),
            Failure.LOGIN,
        ),
        (
            ("Unable to negotiate with 127.0.0.1 port 22: no matching host key type found.",),
            Failure.ALGORITHMS,
        ),
        (
            (
                '"System is booting up. Unprivileged users are not permitted to log in yet. For'
                ' technical details, see pam_nologin(8)."',
                "mia@127.0.0.1: Permission denied (publickey).",
            ),
            Failure.UNREACHABLE,
        ),
        (("ssh: connect to host board port 22: Connection refused",), Failure.UNREACHABLE),
        ((), Failure.UNREACHABLE),
    ],
)
def test_why_there_is_no_connection(lines: tuple[str, ...], failure: Failure) -> None:
    assert failure_of(log(*lines)) is failure


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (("ssh: connect to host b port 22: Connection refused",), "Connection refused"),
        (
            ("ssh: Could not resolve hostname b: Name or service not known",),
            "the name cannot be resolved: Name or service not known",
        ),
        (("Connection timed out during banner exchange",), "no answer"),
        (
            ("ssh: connect to host jump port 2223: Connection refused", *PROXY_ENDED),
            "the jump host or proxy of your SSH configuration failed: ssh: connect to host jump"
            " port 2223: Connection refused",
        ),
        (PROXY_ENDED, "proxy of your SSH configuration failed: it ended without a message"),
        (
            ("kex_exchange_identification: read: Connection reset by peer",),
            "no SSH server answers there (kex_exchange_identification: read: Connection reset",
        ),
        (("Banner \x1b]0;t\x07 \u202e of b",), "(Banner �]0;t� � of b)"),
        ((), "the client wrote nothing"),
    ],
)
def test_why_no_server_is_reached(lines: tuple[str, ...], words: str) -> None:
    assert words in why_unreachable(log(*lines))
    assert why_unreachable(log(*lines)).isprintable()


def test_an_agent_that_does_not_answer() -> None:
    assert agent_hangs(log("debug1: Connecting to b [192.0.2.1] port 22.")) == ""
    assert agent_hangs(log(SHOWN, NEW_KEYS, "debug1: rekey in after")) == (
        "the SSH agent does not answer"
    )
    offered = log(SHOWN, NEW_KEYS, "debug1: Will attempt key: /k", "debug1: Offering public key")
    assert agent_hangs(offered) == ""
    signing = log(*offered.lines, f"debug1: Server accepts key: /k {KEY} agent")
    assert "does not sign" in agent_hangs(signing)
    # Those of a jump host come before those of the target.
    jumped = log(SHOWN, NEW_KEYS, "debug1: Will attempt key: /k", SHOWN, NEW_KEYS)
    assert "the SSH agent" in agent_hangs(jumped)


def test_the_keys_that_were_offered_and_those_that_could_not_be() -> None:
    refused = log(
        f"debug1: Offering public key: mia's laptop {KEY} agent",
        f"debug1: Offering public key: /home/mia/a b {KEY} explicit",
        'Load key "/home/mia/junk": error in libcrypto',
        f"debug1: Server accepts key: /home/mia/locked {KEY} explicit",
        "mia@127.0.0.1: Permission denied (publickey,password).",
    )
    fingerprint = KEY.split()[1]
    assert login_refused(refused, "board").splitlines() == [
        "board: the server refuses to log us in",
        f"  offered:  mia's laptop in the agent ({fingerprint})",
        f"  offered:  /home/mia/a b ({fingerprint})",
        "  unusable: /home/mia/junk: error in libcrypto",
        "  unusable: /home/mia/locked: has a passphrase; run ssh-add first",
        "  ssh: mia@127.0.0.1: Permission denied (publickey,password).",
        "  Set identity_file (and user) in bootwright.toml to the key that the card was made for.",
    ]
    assert "there was no key to offer" in login_refused(log("m: Permission denied (x)."), "board")


def test_a_second_factor_and_a_jump_host_are_named() -> None:
    second = log(
        f"debug1: Server accepts key: /k {KEY} agent",
        'Authenticated using "publickey" with partial success.',
        "debug1: Authentications that can continue: password,keyboard-interactive",
        "mia@127.0.0.1: Permission denied (password,keyboard-interactive).",
    )
    text = login_refused(second, "board")
    assert "the key is accepted, but the server wants password or keyboard-interactive too" in text
    jump = log("mia@jump: Permission denied (publickey).", *PROXY_ENDED)
    assert "the jump host of your SSH configuration refuses" in login_refused(jump, "board")


def test_the_shown_key_is_the_targets_and_the_last_words_are_of_the_connection() -> None:
    assert log(SHOWN.replace("KXpa", "JUMP"), SHOWN).host_key == tuple(KEY.split())
    assert log("debug1: Server host key: sk-ecdsa-sha2-nistp256@openssh.com F").host_key == (
        "ECDSA",
        "F",
    )
    assert log().host_key is None
    lost = log("a banner", CONNECTED, "debug1: x", "Timeout, server b not responding.")
    assert lost.lost == "Timeout, server b not responding."
    ended = log(*lost.lines, "Transferred: sent 1, received 2 bytes, in 0.3 seconds")
    assert log(*ended.lines, "Bytes per second: sent 3.0, received 6.0").lost == lost.lost
    assert log("a banner", CONNECTED).lost == ""


def test_a_target_behind_a_jump_host_that_refuses_the_login_is_no_jump_host() -> None:
    refused = log(
        "Received disconnect from UNKNOWN port 65535:2: Too many authentication failures",
        "Disconnected from UNKNOWN port 65535",
    )
    assert failure_of(refused) is Failure.LOGIN
    assert "the server refuses to log us in" in login_refused(refused, "board")


def test_warnings_about_the_key_exchange_are_no_reasons() -> None:
    warned = log(
        "** WARNING: connection is not using a post-quantum key exchange algorithm.",
        '** This session may be vulnerable to "store now, decrypt later" attacks.',
        "** The server may need to be upgraded. See https://openssh.com/pq.html",
    )
    assert warned.messages == []


def test_commands_of_the_configuration_are_not_in_the_log_of_a_run() -> None:
    secret = log(
        "debug1: Executing proxy command: exec sshpass -p hidden ssh -W b:22 jump",
        "debug1: Executing proxy dialer command: exec dial hidden",
        "debug1: Executing command: 'test hidden'",
        SHOWN,
    )
    assert "hidden" not in "".join(secret.without_commands)
    assert secret.without_commands[1] == "debug1: Executing proxy command: ***"
    assert secret.without_commands[-1] == SHOWN


def test_a_client_that_is_too_old_is_named() -> None:
    old = log("command-line: line 0: Bad configuration option: forkafterauthentication")
    assert configuration_error(old).startswith(
        "the ssh of this machine is older than OpenSSH 8.7, which Bootwright needs; inv doctor"
    )
    wrong = log("/c: line 2: Bad configuration option: prot", "/c: terminating, 1 bad")
    assert configuration_error(wrong).startswith("your SSH configuration: /c: line 2: Bad")


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("tunnel: password=hunter22 refused", "tunnel: password=*** refused"),
        ("> Authorization: Bearer abcd.efgh", "> Authorization: Bearer ***"),
        ('{"api_key": "k-1234"}', '{"api_key": "***"}'),
        (
            "proxy http://mia:hunter22@proxy:3128/ is down",
            "proxy http://mia:***@proxy:3128/ is down",
        ),
        # Named in the command line only, or in the environment only.
        ("hunter33 and hunter44 are no good", "*** and *** are no good"),
        ("mia@jump: Permission denied (publickey,password).", None),
        ("Enter passphrase for key '/home/mia/.ssh/id': ", None),
        ("/bin/sh: 1: corkscrew: not found", None),
    ],
)
def test_a_credential_that_a_proxy_command_writes_is_not_shown(
    written: str, shown: str | None
) -> None:
    command = "debug1: Executing proxy command: exec relay --token hunter33 %h:%p"
    made = lines_of([command.encode(), written.encode(), b"x" * 8000], ["hunter44"])
    assert made.messages[0] == (shown or written.strip())
    assert len(made.messages[1]) == 300


def test_a_placeholder_of_the_client_is_no_credential() -> None:
    made = lines_of([b"debug1: Executing proxy command: exec p https://u:%p@x", b"no %p here"])
    assert made.messages == ["no %p here"]
