"""CPU time (user and system) of short commands, compared with only importing Invoke.

    .venv/bin/python benchmarks/startup.py [--runs N]

Each command needs at least the time of ``python -c "import invoke"``. The commands run alternately,
so that other load on the machine affects all of them; the best of the runs is shown.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

BIN = Path(sys.executable).parent
ROOT = Path(__file__).resolve().parents[1]

PEER = [sys.executable, "-c", "import invoke"]

COMMANDS = {
    "import invoke": PEER,
    "inv --version": [str(BIN / "inv"), "--version"],
    "inv --list": [str(BIN / "inv"), "--list"],
    "inv flash --help": [str(BIN / "inv"), "flash", "--help"],
    "Tab after inv unlock": [str(BIN / "inv"), "--complete", "--", "unlock", ""],
    "inv config odroid": [str(BIN / "inv"), "config", "odroid"],
}

LIMITS = {"inv --list": 0.2, "inv config odroid": 0.4}
"""Seconds of CPU time that a command should not exceed."""


def cpu_seconds(argv: list[str]) -> float:
    """Run a command; return the CPU seconds of it and its child processes."""
    process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(argv)}: ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10)
    runs = parser.parse_args().runs
    for argv in COMMANDS.values():
        cpu_seconds(argv)  # the first run compiles the modules to bytecode
    best = dict.fromkeys(COMMANDS, float("inf"))
    for _ in range(runs):
        for name, argv in COMMANDS.items():
            best[name] = min(best[name], cpu_seconds(argv))
    peer = best["import invoke"]
    print(f"{'command':22} {'CPU s':>6} {'ratio':>6}  limit")
    for name, seconds in best.items():
        limit = f"{LIMITS[name]:.1f} s" if name in LIMITS else "-"
        print(f"{name:22} {seconds:6.3f} {seconds / peer:6.2f}  {limit}")


if __name__ == "__main__":
    main()
