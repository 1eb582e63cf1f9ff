"""The audit of the locked packages: a clean bill is given only where every package was looked up."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / ".ci" / "audit.py"
CLEAN = {"name": "numpy", "version": "2.4.6", "vulns": []}
BAD = {"name": "pillow", "version": "1.0", "vulns": [{"id": "PYSEC-0", "fix_versions": ["2.0"], "description": ""}]}
SKIPPED = {"name": "torch", "skip_reason": "Dependency not found on PyPI and could not be audited: torch (2.15.0)"}


def audit(tmp_path, source):
    """(exit status, output) of the script with a pip-audit that runs ``source``."""
    (tmp_path / "pip_audit.py").write_text(source)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, timeout=60, env=environment)
    assert "Traceback" not in done.stdout + done.stderr
    return done.returncode, done.stdout


def answering(*packages, status=0):
    return f"import sys; print({json.dumps({'dependencies': packages})!r}); sys.exit({status})"


@pytest.mark.parametrize(
    ("source", "status", "words"),
    [
        (answering(CLEAN, CLEAN), 0, "no known vulnerability in 2 packages"),
        (answering(CLEAN, BAD, status=1), 1, "pillow 1.0: PYSEC-0, fixed in 2.0"),
        (answering(BAD, SKIPPED, status=1), 1, "1 of 2 packages could not be looked up"),
        (answering(SKIPPED, SKIPPED), 3, "2 of 2 packages could not be looked up, so nothing is known of them: torch"),
        (answering(CLEAN, SKIPPED), 3, "1 of 2 packages could not be looked up"),
        (answering(), 3, "0 of 0 packages"),
        ("raise ConnectionError('no route to host')", 3, "ConnectionError: no route to host"),
        ("print('not JSON')", 3, "nothing was looked up, so nothing is known"),
    ],
)
def test_what_is_not_known_is_not_called_clean(tmp_path, source, status, words):
    found, output = audit(tmp_path, source)
    assert found == status
    assert words in output


def test_it_is_the_lock_that_is_audited_and_by_its_hashes(tmp_path):
    echo = (
        "import json, sys; print(json.dumps({'dependencies': [{'name': ' '.join(sys.argv[1:]), 'skip_reason': ''}]}))"
    )
    _, output = audit(tmp_path, echo)
    assert "requirements.lock --disable-pip --require-hashes" in output


def test_every_locked_package_has_hashes(repository):
    lines = (repository / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pinned = [number for number, line in enumerate(lines) if line and line[0] not in " #" and "==" in line]
    assert len(pinned) > 200
    assert all(lines[number].endswith("\\") and "--hash=sha256:" in lines[number + 1] for number in pinned)
