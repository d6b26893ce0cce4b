"""`inv audit` as an operator calls it, with a real sshd: output and exit codes."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.support.bench import Bench
from tests.support.lab import Lab
from tests.support.schemas import check_document
from tests.support.sshserver import USER, SshServer, need_sshd

pytestmark = pytest.mark.integration

# Its connection's own server, which is above the shell that runs it.
HANG_UP = """
pid=$$
until grep -q ^sshd "/proc/$pid/comm"; do
    while read -r key value _; do [ "$key" = PPid: ] && break; done <"/proc/$pid/status"
    pid=$value
done
kill -9 "$pid"
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    need_sshd()
    server = SshServer(tmp_path_factory.mktemp("board"), own_run=True)
    # What this machine lacks, and a board of ours has.
    server.tool("systemctl", "exit 1")
    server.start()
    try:
        made = Lab(Bench(tmp_path_factory.mktemp("lab")), server)
        config = made.bench.checkout / "bootwright.toml"
        config.write_text(config.read_text() + '[targets.board.docker]\ntrusted_user = "mia"\n')
        yield made
    finally:
        server.stop()


@contextmanager
def members(lab: Lab, names: str) -> Iterator[None]:
    """Let users be in the group ``docker``: what a board without Docker can have wrong."""
    group = lab.server.etc / "group"
    before = group.read_text()
    kept = [line for line in before.splitlines() if not line.startswith("docker:")]
    group.write_text("\n".join([*kept, f"docker:x:61999:{names}", ""]))
    try:
        yield
    finally:
        group.write_text(before)


@contextmanager
def tool(lab: Lab, name: str, script: str) -> Iterator[None]:
    lab.server.tool(name, script)
    try:
        yield
    finally:
        (lab.server.tools / name).unlink()


def document(lab: Lab, *argv: str, code: int = 0) -> dict[str, Any]:
    """Return the document, the only one on standard output."""
    done = lab.inv("audit", *argv, "--json")
    assert done.returncode == code, done.stderr
    return check_document("audit", json.loads(done.stdout))


def results(found: dict[str, Any]) -> dict[str, str]:
    return {check["id"]: check["result"] for check in found["checks"]}


def waivers(path: Path, check: str, expires: str) -> str:
    reason = "There is nobody else on this board of the test."
    path.write_text(f'[[waiver]]\ncheck = "{check}"\nreason = "{reason}"\nexpires = {expires}\n')
    return str(path)


def test_a_board_without_docker(lab: Lab) -> None:
    found = document(lab, "board")
    assert (found["target"], found["benchmark"]) == ("board", "cis-docker-1.6.0")
    came = results(found)
    assert len(came) == 117
    assert came["5.4"] == "skipped"
    assert {check["evidence"] for check in found["checks"] if check["id"] in ("2.2", "5.4")} == {
        "Docker is not installed"
    }
    assert "pass" not in {result for check, result in came.items() if check[0] in "24567"}
    assert found["host"]["engine"] == ""
    text = lab.inv("audit", "board")
    assert text.returncode == 0
    assert text.stdout.startswith("board: CIS Docker Benchmark 1.6.0, ")
    assert "no Docker engine answers" in text.stdout
    assert "[SKIP] 5.4 " in text.stdout


def test_nothing_stays_on_the_board(lab: Lab) -> None:
    assert lab.server.run is not None
    assert list(lab.server.run.glob("bootwright*")) == []


@pytest.mark.parametrize(
    ("target", "user", "code", "message"),
    [
        ("gone", "root", 4, "Connection refused"),
        ("mia", USER, 4, "sudo asks for a password"),
        ("forged", "", 3, "this is not the host key of forged"),
    ],
)
def test_a_board_that_cannot_be_audited(
    lab: Lab, target: str, user: str, code: int, message: str
) -> None:
    with tool(lab, "sudo", "echo 'sudo: a password is required' >&2; exit 1"):
        done = lab.inv("audit", target, "--json")
    assert (done.returncode, done.stdout) == (code, "")
    assert f"error: {target} ({user}" in done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("awk", "message"),
    [
        ("echo garbage", "answer lacks host"),
        ("printf '\\n== host\\n|kernel 6.1\\n'", "answer lacks modes"),
        ("exec yes '|flood'", "more than 1024 KiB of output"),
        ("exec cat /dev/zero", "more than 1024 KiB of output"),
        ("head -c 9999 /dev/urandom", "board's answer"),
        (HANG_UP, "the connection was lost"),
    ],
    ids=["garbage", "a part", "a flood", "zeros", "noise", "hangs up"],
)
def test_a_board_that_answers_nonsense(lab: Lab, awk: str, message: str) -> None:
    with tool(lab, "awk", awk):
        done = lab.inv("audit", "board")
    assert done.returncode == 4
    assert "error: board (root@127.0.0.1 port" in done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stdout + done.stderr) < 2000


def test_several_boards_each_have_a_column_and_the_worst_decides(lab: Lab) -> None:
    with members(lab, "eve"):
        done = lab.inv("audit", "board", "gone", "forged")
    assert done.returncode == 4
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[0] == ["check", "board", "title"]
    assert ["1.1.2", "warn"] in [row[:2] for row in rows]
    assert "gone: not audited: gone (root@127.0.0.1 port" in done.stdout
    assert "forged: not audited: forged (127.0.0.1 port" in done.stdout
    assert "not audited: gone, forged" in done.stderr
    found = document(lab, "board", "forged", code=3)
    assert [one["target"] for one in found["targets"]] == ["board", "forged"]
    assert len(found["targets"][0]["checks"]) == 117


def test_a_group(lab: Lab) -> None:
    with tool(lab, "sudo", "echo 'sudo: a password is required' >&2; exit 1"):
        found = document(lab, "--group", "lab", "--parallel", "2", code=4)
    targets = {one["target"]: one for one in found["targets"]}
    assert list(targets) == ["board", "mia", "gone", "forged"]
    assert len(targets["board"]["checks"]) == 117
    codes = {name: one["error"]["exit_code"] for name, one in targets.items() if "error" in one}
    assert codes == {"mia": 4, "gone": 4, "forged": 3}


def test_every_format(lab: Lab, tmp_path: Path) -> None:
    made = {}
    for form in ("text", "json", "junit", "sarif", "html"):
        path = tmp_path / f"report.{form}"
        done = lab.inv("audit", "board", "--format", form, "--output", str(path))
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        made[form] = path.read_text(encoding="utf-8")
        assert path.stat().st_mode & 0o777 == 0o644
    assert "[SKIP] 5.4 " in made["text"]
    assert json.loads(made["json"])["target"] == "board"
    assert len(ET.fromstring(made["junit"]).findall(".//testcase")) == 117
    assert json.loads(made["sarif"])["version"] == "2.1.0"
    assert made["html"].lower().startswith("<!doctype html>")
    assert len(list(tmp_path.iterdir())) == 5


def test_a_report_is_written_as_a_whole_or_not_at_all(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    done = lab.inv("audit", "board", "--output", str(tmp_path / "taken"))
    assert done.returncode == 4
    assert f"{tmp_path}/taken: the report cannot be written" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
    # The report has also a board that could not be audited.
    path = tmp_path / "gone.json"
    done = lab.inv("audit", "gone", "--json", "--output", str(path))
    assert (done.returncode, done.stdout) == (4, "")
    assert "Connection refused" in json.loads(path.read_text())["error"]["message"]


def test_fail_on_warn(lab: Lab) -> None:
    with members(lab, "eve,mia"):
        done = lab.inv("audit", "board", "--fail-on", "warn")
        assert lab.inv("audit", "board").returncode == 0
    assert done.returncode == 4
    # What could not be evaluated fails as well, after what warns.
    assert "checks warn, or could not be evaluated: board: " in done.stderr
    assert "(1.1.2, " in done.stderr
    assert "[WARN] 1.1.2 " in done.stdout
    assert "eve" in done.stdout


def test_fail_on_regression(lab: Lab, tmp_path: Path) -> None:
    base = tmp_path / "base.json"
    compared = ("--baseline", str(base), "--fail-on", "regression")
    with members(lab, ""):
        lab.inv("audit", "board", "--json", "--output", str(base))
        done = lab.inv("audit", "board", *compared)
        assert done.returncode == 0, done.stderr
    with members(lab, "eve"):
        found = document(lab, "board", *compared, code=4)
        done = lab.inv("audit", "board", *compared)
    assert [change["id"] for change in found["comparison"]["worse"]] == ["1.1.2"]
    assert done.returncode == 4
    assert "got worse: board: 2 (1.1.2, docker-group)" in done.stderr


def test_a_baseline_that_cannot_be_used_is_named(lab: Lab, tmp_path: Path) -> None:
    base = tmp_path / "base.json"
    lab.inv("audit", "board", "--json", "--output", str(base))
    whole = base.read_text()
    other = json.dumps({**json.loads(whole), "target": "shelf"})
    cases = [
        (whole, ("--benchmark", "1.11.0"), "--benchmark 1.6.0"),
        (other, (), "no audit of board; it has: shelf"),
        (whole[: len(whole) // 2], (), "not JSON"),
        ("[" * 100_000, (), "not JSON"),
        ("{}", (), "bootwright.audit/1"),
        (json.dumps({**json.loads(whole), "checks": 7}), (), "checks"),
    ]
    for text, argv, message in cases:
        base.write_text(text)
        done = lab.inv("audit", "board", "--baseline", str(base), *argv)
        assert done.returncode == 2, done.stderr
        assert f"error: {base}" in done.stderr
        assert message in done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
    base.write_bytes(b"\xff\xfe")
    assert lab.inv("audit", "board", "--baseline", str(base)).returncode == 2


def test_waivers(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "waivers.toml"
    argv = ("board", "--fail-on", "warn", "--waivers", str(path))
    with members(lab, "eve"):
        waivers(path, "1.1.2", "2999-12-31")
        found = document(lab, *argv, code=4)
        check = next(one for one in found["checks"] if one["id"] == "1.1.2")
        assert (check["result"], check["waiver"]["expired"]) == ("waived", False)
        waivers(path, "1.1.2", "2020-01-31")
        found = document(lab, *argv, code=4)
        check = next(one for one in found["checks"] if one["id"] == "1.1.2")
        assert (check["result"], check["waiver"]["expired"]) == ("warn", True)
        own = lab.bench.checkout / "waivers.toml"
        before = own.read_text()
        try:
            waivers(own, "1.1.2", "2999-12-31")
            assert results(document(lab, "board"))["1.1.2"] == "waived"
            own.unlink()
            assert results(document(lab, "board"))["1.1.2"] == "warn"
        finally:
            own.write_text(before)


def test_ids_of_another_version(lab: Lab) -> None:
    found = document(lab, "board", "--benchmark", "1.11.0")
    assert found["benchmark"] == "cis-docker-1.11.0"
    assert len(found["checks"]) == 83
    assert lab.inv("audit", "board", "--benchmark", "1.11.0").stdout.startswith(
        "board: CIS Docker Benchmark 1.11.0, "
    )


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ((), "name a target"),
        (("nosuch",), "no target 'nosuch'"),
        (("--group", "nobody"), "in the group 'nobody'"),
        (("board", "--format", "pdf"), "--format: 'pdf' is none of text, json, junit, sarif, html"),
        (("board", "--format", "text", "--json"), "give only one of them"),
        (("board", "--benchmark", "9.9"), "no benchmark '9.9'; there are: 1.2.0, 1.6.0"),
        (("board", "--benchmark", "../1.6.0"), "no benchmark"),
        (("board", "--fail-on", "info"), "--fail-on: 'info' is none of never, warn, regression"),
        (("board", "--fail-on", "regression"), "--fail-on regression needs a --baseline"),
        (("board", "--baseline", "/nonexistent/b.json"), "/nonexistent/b.json"),
        (("board", "--output", "/nonexistent/report"), "/nonexistent: there is no such folder"),
        (("board", "--waivers", "/nonexistent/w.toml"), "/nonexistent/w.toml"),
        (("board", "--waivers", "CHECKOUT/wrong.toml"), "9.9: there is no such check"),
        (("board", "--parallel", "0"), "--parallel"),
        (("board", "--wait", "soon"), "--wait"),
        (("board", "--sudo-password-file", "/nonexistent"), "/nonexistent"),
        (("board", "--nosuch"), "has no option --nosuch"),
    ],
)
def test_wrong_input_ends_with_2_before_a_board_is_contacted(
    lab: Lab, argv: tuple[str, ...], message: str
) -> None:
    waivers(lab.bench.checkout / "wrong.toml", "9.9", "2999-12-31")
    given = [word.replace("CHECKOUT", str(lab.bench.checkout)) for word in argv]
    done = lab.inv("audit", *given)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert done.stdout == ""
    assert "Read the state" not in done.stderr
    assert "Traceback" not in done.stderr


def test_help_has_every_option(lab: Lab) -> None:
    text = lab.inv("audit", "--help").stdout
    for name in (
        *("target", "group", "parallel", "benchmark", "format", "json", "baseline", "fail-on"),
        *("output", "waivers", "sudo-password-file", "wait", "identity"),
    ):
        assert f"--{name}" in text
    assert "inv audit [TARGET …]" in text
