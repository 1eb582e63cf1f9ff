"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
# What JAX compiles in one test or run is not compiled again in the next one: several share each program.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(REPOSITORY / ".pytest_cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")

#: Of some twenty minutes, nearly all in one test: begun last, it would leave the other workers idle.
LONGEST = "test_dvc.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest file first; `make test` keeps xdist from sorting files by their number of tests."""
    items.sort(key=lambda item: item.path.name != LONGEST)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real sky: $SKYTRACE_DATA, else ../shared/data beside the checkout; the test skips where absent."""
    candidates = [Path(p) for p in (os.environ.get("SKYTRACE_DATA"), REPOSITORY.parent / "shared" / "data") if p]
    for folder in candidates:
        if (folder / "imaging").is_dir():
            return folder.resolve()
    pytest.skip(f"no real data: none of {', '.join(map(str, candidates))} has a folder 'imaging'")


def chromium() -> str:
    """Path of the system's Chromium; the test skips, saying so, where there is none."""
    import shutil

    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    return path


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium, driven by Playwright."""
    executable = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        instance = playwright.chromium.launch(
            executable_path=executable,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
        )
        yield instance
        instance.close()
