"""Known vulnerabilities of the packages in requirements.lock, by pip-audit: `make audit`.

Exit status: 0, every locked package was looked up and none has a known vulnerability; 1, some have, and are listed; 3,
not all could be looked up (no network, a registry without advisories, no pip-audit), which is no clean bill.
"""

import json
import subprocess
import sys
from pathlib import Path

CLEAN, VULNERABLE, UNKNOWN = 0, 1, 3
LOCK = Path(__file__).resolve().parents[1] / "requirements.lock"
TIMEOUT_S = 900
COMMAND = (
    sys.executable, "-m", "pip_audit", "--requirement", str(LOCK), "--disable-pip", "--require-hashes", "--format",
    "json", "--progress-spinner", "off", "--timeout", "15",
)  # fmt: skip


def verdict(output: str, errors: str) -> tuple[int, list[str]]:
    """(exit status, what to say) of what pip-audit printed to stdout and stderr."""
    try:
        packages = json.loads(output)["dependencies"]
    except (ValueError, KeyError, TypeError):
        said = [line.strip() for line in errors.splitlines() if line.strip()]
        return UNKNOWN, [
            "audit: nothing was looked up, so nothing is known. pip-audit asks a registry and could not:",
            f"  {said[-1] if said else 'it said nothing'}",
            "  Run `make audit` again where there is a network.",
        ]
    skipped = [package for package in packages if "skip_reason" in package]
    bad = [package for package in packages if package.get("vulns")]
    lines = []
    for package in bad:
        for one in package["vulns"]:
            fixed = ", ".join(one.get("fix_versions") or []) or "no version yet"
            lines.append(f"  {package['name']} {package.get('version', '')}: {one['id']}, fixed in {fixed}")
    if skipped or not packages:
        lines.append(
            f"audit: {len(skipped)} of {len(packages)} packages could not be looked up, so nothing is known of them"
            + (f": {', '.join(package['name'] for package in skipped[:5])} ..." if skipped else "")
        )
    if bad:
        return VULNERABLE, [f"audit: {len(bad)} of {len(packages)} packages have known vulnerabilities:", *lines]
    if skipped or not packages:
        lines.append("  Run `make audit` again where the registry serves advisories.")
        return UNKNOWN, lines
    return CLEAN, [f"audit: no known vulnerability in {len(packages)} packages"]


def main() -> int:
    """Run pip-audit and say what it found."""
    try:
        done = subprocess.run(COMMAND, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        status, lines = verdict(done.stdout, done.stderr)
    except subprocess.TimeoutExpired:
        status, lines = (
            UNKNOWN,
            [f"audit: no answer in {TIMEOUT_S} s, so nothing is known. Run `make audit` again later."],
        )
    print("\n".join(lines))
    return status


if __name__ == "__main__":
    sys.exit(main())
