import dataclasses
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bootwright.core.board import OtherSuite, load_board
from bootwright.core.config import Target
from bootwright.core.errors import InputError
from bootwright.rootfs.debian_plan import (
    EMULATOR_MODULES,
    HOOK_PACKAGES,
    KEYRING,
    AptSource,
    Recipe,
    binfmt_problem,
    failed_suites,
    mmdebstrap_argv,
    other_sources,
    pins,
    sources_of_host,
    sources_of_mirror,
    tar_name,
    unprivileged_problem,
)
from bootwright.rootfs.io.base_image import debian_recipe
from bootwright.rootfs.source import Mmdebstrap, Tarball, load_rootfs_source

ROOTFS = Path(__file__).parents[2] / "rootfs"

OTHER = OtherSuite(suite="trixie", components=("contrib",), packages=("u-boot-exynos-binaries",))

RECIPE = Recipe(
    suite="bookworm",
    architecture="armhf",
    components=("main",),
    packages=("sudo", "udev"),
    other_suites=(OTHER,),
    exclude=("/usr/share/man/*",),
    keep=("/usr/share/man/man1/keep",),
    modules=("ext4",),
    device_trees=("one.dtb",),
    mirror=None,
    hooks=("setup text", "install text", "finish text", "device-trees text"),
)

MAIN = AptSource("http://mirror.test/debian", "bookworm", ("main",))
UPDATES = AptSource("http://mirror.test/debian", "bookworm-updates", ("main",))
SECURITY = AptSource("http://mirror.test/debian-security", "bookworm-security", ("main",))


def debian() -> Mmdebstrap:
    source = load_rootfs_source(ROOTFS / "debian" / "rootfs.toml")
    assert isinstance(source, Mmdebstrap)
    return source


# --- Recipe -------------------------------------------------------------------------


def test_the_recipe_combines_the_source_and_the_board() -> None:
    recipe = Recipe.from_source(
        debian(), packages=["u-boot-sunxi", "sudo"], modules=["dw_mmc_exynos", "ext4"]
    )
    assert recipe.packages.count("sudo") == 1
    assert set(HOOK_PACKAGES) <= set(recipe.packages)
    assert "u-boot-sunxi" in recipe.packages
    assert set(recipe.modules) == {*EMULATOR_MODULES, "dw_mmc_exynos"}
    assert all(text.startswith("#!/bin/sh\n") for text in recipe.hooks)


def test_the_recipe_has_the_targets_packages() -> None:
    board = load_board(ROOTFS.parent / "board", "odroid-xu3")
    target = Target(name="a", hostname="a", board="odroid-xu3", rootfs="debian")
    plain = debian_recipe(board, target, debian())
    more = debian_recipe(board, target.model_copy(update={"packages": ("tcpdump",)}), debian())
    assert set(more.packages) - set(plain.packages) == {"tcpdump"}
    assert more.digest != plain.digest


def test_order_and_repetition_do_not_change_the_digest() -> None:
    one = Recipe.from_source(debian(), packages=["b", "a"], modules=["x", "y"])
    other = Recipe.from_source(debian(), packages=["a", "b", "a"], modules=["y", "x"])
    assert one.digest == other.digest


CHANGES: list[dict[str, Any]] = [
    {"suite": "trixie"},
    {"architecture": "arm64"},
    {"components": ("main", "contrib")},
    {"packages": ("sudo",)},
    {"other_suites": (OTHER.model_copy(update={"packages": ("u-boot-exynos",)}),)},
    {"exclude": ()},
    {"keep": ()},
    {"modules": ("ext4", "dw_mmc_exynos")},
    {"device_trees": ()},
    {"mirror": "http://mirror.test/debian"},
    {"hooks": ("setup text", "another text", "finish text", "device-trees text")},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
def test_every_part_of_the_recipe_changes_the_digest(change: dict[str, Any]) -> None:
    assert dataclasses.replace(RECIPE, **change).digest != RECIPE.digest


def test_the_changes_above_cover_every_part() -> None:
    assert {next(iter(change)) for change in CHANGES} == {
        field.name for field in dataclasses.fields(Recipe)
    }


def test_digest_is_the_same_in_every_run() -> None:
    # If SCHEMA or a part of the recipe changes, write the new digest here. A change by accident
    # would make every user build the root file system again.
    assert RECIPE.digest == DIGEST
    assert tar_name(RECIPE) == f"debian-{DIGEST[:16]}.tar"


DIGEST = "a2d6ed361be7f4aa5a932db762bc33eeb330909ba44b993fc24d73906031b04b"


def test_the_name_of_a_tarball_has_the_suites_that_it_lacks() -> None:
    name = tar_name(RECIPE, ["bookworm-updates", "bookworm-security"])
    assert name == f"debian-{DIGEST[:16]}-without-bookworm-security+bookworm-updates.tar"


# --- Apt sources --------------------------------------------------------------------

DEB822 = """\
Types: deb
# a comment between fields
URIs: http://mirror.test/debian
Suites: bookworm bookworm-updates bookworm-backports
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.test/debian-security
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""

ONE_LINE = """\
# deb http://old.test/debian bookworm main
deb-src http://source.test/debian bookworm main
deb http://mirror.test/debian/ bookworm main non-free-firmware  # a comment
deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] \
http://mirror.test/debian-security bookworm-security/ main
"""


def test_sources_in_deb822() -> None:
    assert sources_of_host(RECIPE, {"debian.sources": DEB822}) == (MAIN, UPDATES, SECURITY)


def test_sources_in_one_line_style() -> None:
    main = dataclasses.replace(MAIN, uri="http://mirror.test/debian/")
    assert sources_of_host(RECIPE, {"sources.list": ONE_LINE}) == (main, SECURITY)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("docker.list", "deb http://vendor.test/linux/debian bookworm stable"),
        (
            "tool.list",
            "deb [signed-by=/etc/apt/keyrings/tool.gpg] http://vendor.test bookworm main",
        ),
        ("off.sources", f"Enabled: no\n{DEB822.split(chr(10) * 2)[0]}"),
        ("source.sources", DEB822.split("\n\n")[0].replace("Types: deb", "Types: deb-src")),
        ("ubuntu.list", "deb http://mirror.test/ubuntu noble main"),
        (
            "key.sources",
            "Types: deb\nURIs: http://vendor.test\nSuites: bookworm\nComponents: main\n"
            "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINBFit\n",
        ),
        ("empty.list", ""),
    ],
)
def test_disabled_and_foreign_sources_are_not_used(name: str, text: str) -> None:
    assert sources_of_host(RECIPE, {name: text}) == ()


def test_sources_of_a_mirror() -> None:
    sources = sources_of_mirror(RECIPE, "http://mirror.test/debian/")
    assert sources == (MAIN, UPDATES, SECURITY)
    assert MAIN.line == f"deb [signed-by={KEYRING}] http://mirror.test/debian bookworm main"


def test_other_suites_come_from_the_archive_of_the_recipes_own_suite() -> None:
    (other,) = other_sources(RECIPE, sources_of_host(RECIPE, {"sources.list": ONE_LINE}))
    assert other == AptSource("http://mirror.test/debian/", "trixie", ("contrib",))
    assert other_sources(RECIPE, [SECURITY]) == ()


# --- The command --------------------------------------------------------------------


def test_command() -> None:
    argv = mmdebstrap_argv(RECIPE, "root", "out.tar", [MAIN, UPDATES])
    assert argv[:5] == [
        "mmdebstrap",
        "--mode=root",
        "--variant=custom",
        "--format=tar",
        "--architectures=armhf",
    ]
    assert argv[-4:] == ["bookworm", "out.tar", MAIN.line, UPDATES.line]
    assert [option for option in argv if option.startswith("--dpkgopt=")] == [
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-include=/usr/share/man/man1/keep",
        "--dpkgopt=path-include=/usr/lib/linux-image-*/one.dtb",
    ]


def test_a_script_of_the_recipe_gets_the_root_directory_and_the_packages(tmp_path: Path) -> None:
    (tmp_path / "run/bootwright").mkdir(parents=True)
    script = tmp_path / "run/bootwright/install.sh"
    script.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    script.chmod(0o755)
    argv = mmdebstrap_argv(RECIPE, "root", "out.tar", [MAIN])
    hook = next(option for option in argv if option.startswith("--extract-hook="))
    done = subprocess.run(
        ["sh", "-c", hook.removeprefix("--extract-hook="), "exec", str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [str(tmp_path), "sudo", "udev", "u-boot-exynos-binaries"]


def test_setup_hooks_write_files(tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, hooks=("it's $1 `here`\n", "b", "c", "#!/bin/sh\n"))
    for option in mmdebstrap_argv(recipe, "root", "out.tar", [MAIN]):
        script = option.removeprefix("--setup-hook=")
        if script != option and "install -D" in script:
            # As mmdebstrap runs it.
            subprocess.run(["sh", "-c", script, "exec", str(tmp_path)], check=True)
    assert (tmp_path / "run/bootwright/setup.sh").read_text() == "it's $1 `here`\n"
    assert (tmp_path / "etc/initramfs-tools/modules").read_text() == "ext4\n"
    assert "MODULES=list\n" in (tmp_path / "etc/initramfs-tools/conf.d/bootwright").read_text()
    assert (tmp_path / "etc/bootwright/device-trees").read_text() == "one.dtb\n"
    (other,) = other_sources(recipe, [MAIN])
    assert (tmp_path / "etc/apt/sources.list.d/bootwright-build.list").read_text() == (
        f"{other.line}\n"
    )
    assert (tmp_path / "etc/apt/preferences.d/bootwright-build").read_text() == pins(recipe)
    assert (tmp_path / "etc/kernel/postinst.d/bootwright-device-trees").stat().st_mode & 0o111


def test_the_setup_script_uses_the_proxy_of_this_machines_apt(tmp_path: Path) -> None:
    root, bin_dir = tmp_path / "root", tmp_path / "bin"
    (root / "etc/apt/apt.conf.d").mkdir(parents=True)
    bin_dir.mkdir()
    (bin_dir / "apt-config").write_text(
        "#!/bin/sh\ncat <<'END'\n"
        'APT::Architecture "amd64";\nAcquire::Languages "none";\n'
        'Acquire::http::Proxy "http://proxy.test:3142";\nEND\n'
    )
    (bin_dir / "apt-config").chmod(0o755)
    subprocess.run(
        ["sh", str(ROOTFS / "debian" / "setup.sh"), str(root)],
        check=True,
        env={"PATH": f"{bin_dir}:/usr/bin:/bin"},
    )
    settings = (root / "etc/apt/apt.conf.d/98bootwright").read_text()
    assert settings == 'Acquire::http::Proxy "http://proxy.test:3142";\n'
    assert (root / "sbin").readlink() == Path("usr/sbin")
    assert (root / "proc").is_dir()


def test_a_suite_that_was_left_out_is_in_the_boards_sources(tmp_path: Path) -> None:
    argv = mmdebstrap_argv(RECIPE, "root", "out.tar", [MAIN], board_only=[SECURITY])
    assert SECURITY.line not in argv
    restore = next(option for option in argv if SECURITY.line in option)
    sources = tmp_path / "etc/apt/sources.list"
    sources.parent.mkdir(parents=True)
    sources.write_text(f"{MAIN.line}\n")
    script = restore.removeprefix("--customize-hook=")
    subprocess.run(["sh", "-c", script, "exec", str(tmp_path)], check=True)
    assert sources.read_text() == f"{MAIN.line}\n{SECURITY.line}\n"


# --- Messages of apt, facts of the machine ---------------------------------------------------

# Debian 12's mmdebstrap 1.3.5 and apt 2.6.1; addresses changed.
OUT_OF_SYNC = """\
I: running apt-get update...
Get:1 http://mirror.test/debian bookworm InRelease [151 kB]
Get:4 http://mirror.test/debian bookworm/main armhf Packages [8506 kB]
Ign:6 http://mirror.test/debian-security bookworm-security/main armhf Packages
Get:6 http://mirror.test/debian-security bookworm-security/main armhf Packages [350 kB]
Err:6 http://mirror.test/debian-security bookworm-security/main armhf Packages
  File has unexpected size (334084 != 349884). Mirror sync in progress? [IP: 203.0.113.80 80]
  Hashes of expected file:
   - Filesize:349884 [weak]
E: Failed to fetch http://mirror.test/debian-security/dists/bookworm-security/main/binary-armhf/\
Packages.xz  File has unexpected size (334084 != 349884). Mirror sync in progress? \
[IP: 203.0.113.80 80]
E: Some index files failed to download. They have been ignored, or old ones used instead.
"""

UNREACHABLE = """\
Err:1 http://mirror.test/debian bookworm InRelease
  Could not resolve 'mirror.test'
Err:2 http://mirror.test/debian bookworm-updates InRelease
  Could not resolve 'mirror.test'
E: Failed to fetch http://mirror.test/debian/dists/bookworm/InRelease  Could not resolve \
'mirror.test'
E: Failed to fetch http://mirror.test/debian/dists/bookworm-updates/InRelease  Could not resolve \
'mirror.test'
"""

NO_RELEASE = """\
Err:3 http://mirror.test/debian bookworm Release
  404  Not Found [IP: 203.0.113.80 80]
E: The repository 'http://mirror.test/debian bookworm Release' does not have a Release file.
"""

MISSING_PACKAGE = """\
Err:7 http://mirror.test/debian bookworm/main armhf sudo armhf 1.9.13p3-1+deb12u1
  404  Not Found [IP: 203.0.113.80 80]
E: Failed to fetch http://mirror.test/debian/pool/main/s/sudo/sudo_1.9.13p3-1_armhf.deb  404  \
Not Found [IP: 203.0.113.80 80]
"""


def test_a_suite_that_is_being_updated_is_returned_with_the_reason() -> None:
    assert failed_suites(OUT_OF_SYNC) == {
        "bookworm-security": "File has unexpected size (334084 != 349884). Mirror sync in progress?"
    }


def test_unreachable_suites_are_returned() -> None:
    reason = "Could not resolve 'mirror.test'"
    assert failed_suites(UNREACHABLE) == {"bookworm": reason, "bookworm-updates": reason}


def test_a_suite_that_the_mirror_lacks_is_returned() -> None:
    assert failed_suites(NO_RELEASE) == {"bookworm": "404  Not Found"}


@pytest.mark.parametrize("log", ["", MISSING_PACKAGE, "E: setup failed: E: command failed: x\n"])
def test_other_failures_return_no_suite(log: str) -> None:
    assert failed_suites(log) == {}


@pytest.mark.parametrize(
    ("machine", "mounted", "registration"),
    [
        ("x86_64", True, "enabled\ninterpreter /usr/libexec/qemu-binfmt/arm-binfmt-P\n"),
        ("aarch64", False, None),
        ("armv7l", False, None),
    ],
)
def test_machine_that_runs_arm_programs(
    machine: str, mounted: bool, registration: str | None
) -> None:
    assert binfmt_problem(machine, mounted, registration) is None


def test_without_binfmt_the_commands_to_set_it_up_are_shown() -> None:
    mount = "  mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc"
    enable = "  update-binfmts --enable qemu-arm"
    unmounted = binfmt_problem("x86_64", False, None)
    assert unmounted is not None
    assert {mount, enable} <= set(unmounted.splitlines())
    for registration in (None, "disabled\n"):
        problem = binfmt_problem("x86_64", True, registration)
        assert problem is not None
        assert enable in problem.splitlines()
        assert mount not in problem.splitlines()


def test_what_an_ordinary_user_lacks_is_listed() -> None:
    assert unprivileged_problem("kim", True, "root:1:2\nkim:100000:65536\n", True) is None
    problem = unprivileged_problem("kim", False, "kimberly:100000:65536\n", False)
    assert problem is not None
    for command in ("install uidmap", "--add-subuids 100000-165535", "unprivileged_userns_clone=1"):
        assert command in problem


# --- rootfs.toml --------------------------------------------------------------------


def test_both_kinds_of_root_file_system_load() -> None:
    assert isinstance(load_rootfs_source(ROOTFS / "archlinuxarm" / "rootfs.toml"), Tarball)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('kind = "floppy"', "kind"),
        ('name = "x"\n', "kind"),
        ('kind = "tarball"\ncolour = "red"\n', "colour"),
        ('kind = "mmdebstrap"\nkernel = "vmlinuz"\n', "kernel"),
        ('kind = "tarball"\nsigning_key = "68b3"\n', "signing_key"),
    ],
)
def test_a_wrong_rootfs_toml_is_an_error_with_file_and_key(
    tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "rootfs.toml"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        load_rootfs_source(file)
    assert str(file) in str(caught.value)
    assert message in str(caught.value)
