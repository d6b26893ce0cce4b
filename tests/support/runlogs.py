"""The logs that runs leave, and whether a secret is in one."""

import base64
import json
from pathlib import Path
from typing import Any

Record = dict[str, Any]


def records(build: Path) -> list[Record]:
    """Return the records of all logs of a build directory, run by run."""
    lines = [
        line
        for path in sorted((build / "log").glob("*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    return [json.loads(line) for line in lines]


def assert_hidden(build: Path, *secrets: str) -> None:
    """Fail if a log has a secret: as text, within JSON, hexadecimal, or in base64."""
    paths = [path for path in (build / "log").rglob("*") if path.is_file()]
    assert paths
    for path in paths:
        text = path.read_text(encoding="utf-8")
        for secret in secrets:
            raw = secret.encode()
            forms = {
                secret,
                json.dumps(secret)[1:-1],
                raw.hex(),
                base64.b64encode(raw)[:-4].decode(),
            }
            assert not [form for form in forms if form in text], path
