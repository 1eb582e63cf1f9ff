#!/usr/bin/env python3
"""A stand-in for an external simulator: what its reference folder's behaviour.json says, it does.

It keeps LUMINA's contract: <program> MODEL_DIR PACKETS ITERATIONS rotation, the result in the working directory. Where
all is well its spectrum is a black body of T_inner_K with the luminosity of config.json, in erg/s/cm.
"""

import itertools
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

RESULT = "lumina_spectrum_rotation.csv"


def black_body(model: Path) -> list[tuple[float, float]]:
    configuration = json.loads((model / "config.json").read_text())
    shape = []
    for k in range(1000):
        wavelength = 1000.0 * 30.0 ** (k / 999.0)
        shape.append((wavelength, wavelength**-5 / math.expm1(1.43877e8 / wavelength / configuration["T_inner_K"])))
    area = sum(0.5 * (b[1] + a[1]) * (b[0] - a[0]) for a, b in itertools.pairwise(shape))
    return [(x, y / area * configuration["luminosity_inner_erg_s"] * 1e8) for x, y in shape]


def written(rows: list[tuple[float, float]]) -> str:
    return "wavelength_angstrom,flux\n" + "".join(f"{x!r},{y!r}\n" for x, y in rows)


def main() -> None:
    model = Path(sys.argv[1])
    behaviour = json.loads((model / "behaviour.json").read_text())
    kind = behaviour["kind"]
    if "log" in behaviour:
        with Path(behaviour["log"]).open("a") as log:
            record = {"argv": sys.argv[1:], "cwd": str(Path.cwd()), "environment": dict(os.environ), "pid": os.getpid()}
            record["files"] = {path.name: path.read_text() for path in sorted(model.iterdir())}
            record["links"] = sorted(path.name for path in model.iterdir() if path.is_symlink())
            log.write(json.dumps(record) + "\n")
    rows = black_body(model)
    if kind == "second try":
        marker = Path(behaviour["marker"])
        if not marker.exists():
            marker.touch()
            kind = "crash"
    if kind == "hang":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path(behaviour["marker"]).write_text(str(child.pid))
        time.sleep(600)
    if kind == "hard link":
        Path(behaviour["marker"]).write_text(written(rows))
        os.link(behaviour["marker"], RESULT)
    if kind == "pipe":
        os.mkfifo(RESULT)
    if kind == "another folder":
        Path(behaviour["marker"]).mkdir()
        (Path(behaviour["marker"]) / RESULT).write_text(written(rows))
        here = Path.cwd()
        here.rmdir()
        here.symlink_to(behaviour["marker"])
    if kind == "large file":
        with Path("scratch").open("wb") as scratch:
            for _ in range(50):
                scratch.write(b"x" * 1_000_000)
    if kind == "many files":
        for number in range(10_000):
            Path(f"scratch{number}").write_bytes(b"x" * 500_000)
            time.sleep(0.01)
    if kind == "stderr elsewhere":
        Path(behaviour["marker"]).write_text("a secret")
        Path("../stderr.txt").unlink()
        Path("../stderr.txt").symlink_to(behaviour["marker"])
        sys.exit(3)
    if kind == "crash":
        print("reading atomic data\nFATAL: no such level in", model, file=sys.stderr)
        sys.exit(3)
    if kind == "abort":
        os.abort()
    if kind == "elsewhere":
        Path(behaviour["marker"]).write_text(written(rows))
        Path(RESULT).symlink_to(behaviour["marker"])
    text = {
        "good": lambda: written(rows),
        "second try": lambda: written(rows),
        "garbage": lambda: "\x7fELF\x02\x01 not a table",
        "half a number": lambda: written(rows)[:-12] + "e\n",
        "not a number": lambda: written([(x, math.nan if x > 5000.0 else y) for x, y in rows]),
        "negative": lambda: written([(x, y if x < 5000.0 else -y) for x, y in rows]),
        "dark": lambda: written([(x, 0.0) for x, y in rows]),
        "truncated": lambda: written(rows[:20]),
        "descending": lambda: written(rows[::-1]),
        "narrow": lambda: written(rows[300:500]),
        "half the light": lambda: written([(x, 0.5 * y) for x, y in rows]),
        "huge": lambda: written(rows) + "# " + "x" * 2_000_000,
    }.get(kind)
    if text:
        Path(behaviour.get("result", RESULT)).write_text(text())


if __name__ == "__main__":
    main()
