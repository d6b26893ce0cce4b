"""The shipped hardening profile: what it answers, what it relies on, and how bad data is told."""

import re
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from bootwright.core.errors import InputError
from bootwright.core.paths import checkout
from bootwright.hosts.audit_rules import parse_audit_rules, recorded
from bootwright.hosts.profile import EngineKey, load_profile, version_key
from bootwright.provision.daemon_json import agrees, engine_key, plain
from bootwright.provision.daemon_validation import LOG_LEVELS

PROFILES = checkout() / "profiles"
PROFILE = load_profile(PROFILES)

DEBIAN_12, NEWEST = version_key("20.10.24+dfsg1"), version_key("29.7.2")


def numbered(chapter: str, first: int, last: int) -> set[str]:
    return {f"{chapter}.{number}" for number in range(first, last + 1)}


def checks_of(wishes: Iterable[Any]) -> set[str]:
    return {check for wish in wishes for check in wish.checks}


def known(key: EngineKey, engine: tuple[int, ...]) -> bool:
    return not (key.since and engine < version_key(key.since)) and not (
        key.until and engine >= version_key(key.until)
    )


def test_every_audit_rule_of_the_benchmark_is_answered() -> None:
    assert checks_of(PROFILE.audit.watch) == numbered("1.1", 3, 18)


def test_every_owner_and_mode_of_the_benchmark_is_answered() -> None:
    assert checks_of(PROFILE.files.file) == numbered("3", 1, 24)


def test_of_the_daemons_checks_two_are_waived_and_all_others_answered() -> None:
    # 2.1 is rootless mode, which does not go with userns-remap.
    waived = checks_of(PROFILE.daemon.waiver)
    by_value = checks_of(s for s in PROFILE.daemon.setting if s.value is not None)
    by_silence = checks_of(s for s in PROFILE.daemon.setting if s.value is None and s.only)
    assert waived == {"2.12", "2.13"}
    assert by_value | by_silence | waived == numbered("2", 2, 18) | {"5.26"}
    assert not (by_value | by_silence) & waived


def test_no_check_is_answered_by_two_settings() -> None:
    wishes = [*PROFILE.daemon.setting, *PROFILE.audit.watch, *PROFILE.files.file]
    counted = Counter(check for wish in wishes for check in wish.checks)
    assert [check for check, count in counted.items() if count > 1] == []


def test_the_report_of_2016_is_answered_but_for_what_the_engine_dropped() -> None:
    wishes: list[Any] = [*PROFILE.daemon.setting, *PROFILE.daemon.waiver]
    answered = {check for wish in wishes for check in wish.cis_1_11 if check.startswith("2.")}
    assert answered == numbered("2", 1, 12)
    gone = engine_key(PROFILE, "disable-legacy-registry")
    assert gone is not None
    assert "2.13" in gone.removed
    assert not known(gone, DEBIAN_12)


@pytest.mark.parametrize("setting", PROFILE.daemon.setting, ids=lambda setting: setting.key)
def test_every_supported_engine_knows_a_settings_key(setting: Any) -> None:
    key = engine_key(PROFILE, setting.key)
    assert key is not None
    assert known(key, DEBIAN_12)
    assert known(key, NEWEST)


def test_values_have_the_types_that_the_engine_reads() -> None:
    values = {s.key: plain(s.value) for s in PROFILE.daemon.setting if s.value is not None}
    switches = {"icc", "no-new-privileges", "live-restore", "userland-proxy"}
    for key in switches:
        assert isinstance(values.pop(key), bool), key
    limits = values.pop("default-ulimits")
    for name, limit in limits.items():
        assert limit["Name"] == name
        assert 0 < limit["Soft"] <= limit["Hard"]
    assert values.pop("log-level") in LOG_LEVELS
    assert all(isinstance(text, str) for text in values.pop("log-opts").values())
    for key in ("storage-driver", "userns-remap", "log-driver"):
        assert isinstance(values.pop(key), str), key
    assert not values, "a new value: say here what it has to be"


def test_a_limit_on_processes_would_be_shared_by_all_remapped_containers() -> None:
    limits, remap = PROFILE.setting("default-ulimits"), PROFILE.setting("userns-remap")
    assert remap is not None
    assert remap.value
    assert limits is not None
    assert "nproc" not in limits.value


def test_the_log_driver_takes_its_options_and_bounds_what_it_keeps() -> None:
    driver, options = PROFILE.setting("log-driver"), PROFILE.setting("log-opts")
    assert driver is not None
    assert options is not None
    (facts,) = [item for item in PROFILE.engine.log_driver if item.name == driver.value]
    assert {"max-size", "max-file"} <= set(options.value) <= set(facts.options)
    # With one file the driver refuses to start a container, since it compresses.
    assert int(options.value["max-file"]) > 1


def test_the_storage_driver_is_in_every_supported_engine() -> None:
    setting = PROFILE.setting("storage-driver")
    assert setting is not None
    untils = {driver.name: driver.until for driver in PROFILE.engine.storage_driver}
    assert untils[setting.value] is None
    assert (untils["aufs"], untils["devicemapper"]) == ("24.0", "25.0")


@pytest.mark.parametrize(
    ("key", "value", "right"),
    [
        ("iptables", True, True),
        ("iptables", False, False),
        ("insecure-registries", [], True),
        ("insecure-registries", ["registry.lan:5000"], False),
        ("tlsverify", False, False),
        ("seccomp-profile", "/etc/docker/seccomp.json", True),
        ("seccomp-profile", "unconfined", False),
        ("storage-opts", ["dm.basesize=20G"], False),
        ("cgroup-parent", "/foobar", False),
        ("experimental", True, False),
        ("ip", "192.0.2.10", True),
        ("authorization-plugins", ["opa"], True),
    ],
)
def test_what_an_operator_may_set(key: str, value: object, right: bool) -> None:
    setting = PROFILE.setting(key)
    assert setting is not None
    assert setting.value is None
    assert agrees(setting, value) is right


def test_the_kernel_options_of_settings_have_a_cost() -> None:
    told = {option for wish in PROFILE.kernel.option for option in wish.options}
    used = {option for setting in PROFILE.daemon.setting for option in setting.kernel}
    assert {"USER_NS", "OVERLAY_FS"} <= used <= told


@pytest.mark.parametrize(
    ("kernel", "without"),
    [
        # Names that a kernel has, and those of the same thing in others that it lacks.
        (
            "3.10",
            {"IP_NF_NAT", "NETFILTER_XT_TARGET_MASQUERADE", "CGROUP_BPF", "CRYPTO_ADIANTUM"}
            | {"NFT_COMPAT", "NFT_NAT", "NFT_MASQ"},
        ),
        (
            "6.6 without nf_tables",
            {"NF_NAT_IPV4", "IP_NF_TARGET_MASQUERADE", "CGROUP_DEVICE"}
            | {"NFT_COMPAT", "NFT_NAT", "NFT_MASQ"},
        ),
        ("nf_tables only", {"IP_NF_FILTER", "IP_NF_NAT", "NF_NAT_IPV4", "IP_NF_RAW"}),
    ],
)
def test_a_kernel_with_other_names_has_what_is_required(kernel: str, without: set[str]) -> None:
    required = [set(wish.options) for wish in PROFILE.kernel.option if wish.required]
    assert all(options - without for options in required), kernel


def test_each_key_driver_and_option_is_there_once() -> None:
    engine = PROFILE.engine
    names: list[tuple[str, ...]] = [
        tuple(key.name for key in engine.key),
        tuple(driver.name for driver in engine.storage_driver),
        tuple(driver.name for driver in engine.log_driver),
        tuple(setting.key for setting in PROFILE.daemon.setting),
        *((*driver.options, *engine.common_log_options) for driver in engine.log_driver),
    ]
    for group in names:
        assert len(group) == len(set(group))


def test_a_key_that_is_gone_says_what_became_of_it() -> None:
    for key in PROFILE.engine.key:
        assert bool(key.until) is bool(key.removed), key.name
        if key.since and key.until:
            assert version_key(key.since) < version_key(key.until), key.name


@pytest.mark.parametrize(
    ("key", "engine", "there"),
    [
        ("graph", "20.10.24", True),
        ("graph", "23.0.0", False),
        ("cluster-store", "28.5.2", False),
        ("log-format", "24.0.9", False),
        ("log-format", "25.0.0", True),
        ("firewall-backend", "28.5.2", False),
        ("firewall-backend", "29.0.0", True),
        ("data-root", "29.7.2", True),
    ],
)
def test_which_engine_knows_a_key(key: str, engine: str, there: bool) -> None:
    found = engine_key(PROFILE, key)
    assert found is not None
    assert known(found, version_key(engine)) is there


@pytest.mark.parametrize("key", ["label", "host", "authorization-plugin", "http-proxy", "icq"])
def test_a_name_that_does_nothing_in_the_file_is_no_key(key: str) -> None:
    assert engine_key(PROFILE, key) is None


def test_what_the_steps_before_a_restart_rely_on_needs_none() -> None:
    reloaded = {key.name for key in PROFILE.engine.key if key.reload}
    assert {"live-restore", "insecure-registries", "debug"} <= reloaded
    assert not reloaded & {"icc", "userns-remap", "log-driver", "no-new-privileges", "hosts"}


def test_a_watch_can_be_loaded_and_is_found_again() -> None:
    for watch in PROFILE.audit.watch:
        for path in watch.paths:
            (rule,) = parse_audit_rules([f"-w {path} -p {watch.permissions} -k docker"])
            assert recorded([rule]) == set(watch.permissions)


def test_busy_folders_are_not_watched_all_the_way_down() -> None:
    for path in ("/run/containerd", "/var/lib/docker"):
        watches = [w for w in PROFILE.audit.watch if path in w.paths]
        assert watches
        assert not any(watch.recursive for watch in watches)


@pytest.mark.parametrize(
    ("check", "paths"),
    [
        ("1.1.3", {"/usr/sbin/dockerd", "/usr/bin/dockerd"}),
        ("1.1.18", {"/usr/sbin/runc", "/usr/bin/runc"}),
    ],
)
def test_binaries_are_watched_where_debian_and_arch_have_them(check: str, paths: set[str]) -> None:
    (watch,) = [watch for watch in PROFILE.audit.watch if check in watch.checks]
    assert paths <= set(watch.paths)
    assert "x" in watch.permissions


def test_nobody_but_root_may_write_a_file_and_no_key_may_be_read() -> None:
    for wish in PROFILE.files.file:
        assert wish.owner.startswith("root:")
        assert not wish.bits & 0o002, wish.paths
        assert not wish.bits & 0o020 or wish.paths[0].endswith(".sock"), wish.paths
        if any("key" in Path(path).name for path in wish.paths):
            assert wish.bits == 0o400
    assert [wish.checks for wish in PROFILE.files.file if wish.exact] == [("3.13", "3.14")]


def test_each_family_gets_an_engine_and_an_audit_daemon() -> None:
    packages = PROFILE.host.package
    must = {
        family: {package.name(family) for package in packages if not package.optional}
        for family in ("debian", "arch")
    }
    assert {"docker.io", "auditd", "apparmor"} <= must["debian"]
    assert {"docker", "audit"} <= must["arch"]
    assert all(package.debian or package.arch for package in packages)


def test_passwords_open_no_ssh_and_the_login_as_root_is_left_to_the_code() -> None:
    settings = {item.directive: item.value for item in PROFILE.host.ssh}
    assert settings["passwordauthentication"] == settings["kbdinteractiveauthentication"] == "no"
    assert "permitrootlogin" not in settings
    assert all(name == name.lower() for name in settings)


def test_reasons_are_whole_sentences() -> None:
    profile = PROFILE
    whys = [
        item.why
        for group in (
            *(profile.daemon.setting, profile.audit.watch, profile.files.file),
            *(profile.host.package, profile.host.ssh),
        )
        for item in group
    ]
    for text in [*whys, *(waiver.reason for waiver in profile.daemon.waiver)]:
        assert re.match(r"[A-Za-z]", text), text
        assert text.endswith((".", ")")), text
        assert "\n" not in text, text


def damaged(tmp_path: Path, name: str, old: str, new: str) -> Path:
    shutil.copytree(PROFILES / "docker-host", tmp_path / "docker-host")
    path = tmp_path / "docker-host" / name
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("daemon.toml", 'checks = ["2.2"]', 'checks = ["CIS 2.2"]', "setting.0.checks.0"),
        ("daemon.toml", 'key = "icc"', 'kee = "icc"', "setting.0.kee: unknown key"),
        (
            "daemon.toml",
            'key = "icc"',
            'key = "ic"',
            "setting: no engine knows the key 'ic'; did you mean icc?",
        ),
        (
            "daemon.toml",
            'key = "icc"',
            'key = "log-level"',
            "setting: key: 'log-level' is there more than once; keep one",
        ),
        ("files.toml", 'mode = "0644"', "mode = 0o644", "file.0.mode"),
        ("audit.toml", '"rwxa"', '"axwr"', "watch.0.permissions"),
        ("kernel.toml", 'need = "docker"', 'need = "fun"', "option.0.need"),
        ("engine.toml", 'since = "28.2"', 'since = "v28"', "key.0.since"),
        ("host.toml", '"docker.io"', '["docker.io"]', "package.0.debian"),
    ],
)
def test_bad_data_is_reported_with_file_and_key(
    tmp_path: Path, name: str, old: str, new: str, said: str
) -> None:
    with pytest.raises(InputError) as caught:
        load_profile(damaged(tmp_path, name, old, new))
    assert f"docker-host/{name}: {said}" in str(caught.value)


def test_a_profile_that_is_not_there_is_reported_with_those_that_are() -> None:
    with pytest.raises(InputError, match=r"'swarm-host'; there are: .*docker-host"):
        load_profile(PROFILES, "swarm-host")
