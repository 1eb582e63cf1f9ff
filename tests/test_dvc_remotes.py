"""Results reach another clone through every kind of remote that docs/how_to/machines.md names, each served on this
machine: a folder, SSH (asyncssh's own server) and S3 (moto).
"""

import asyncio
import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.test_dvc import Clone

RESULT = "data/07_model_output/scores.npy"


class Checkout(Clone):
    """A clone with a home of its own, which knows nobody's keys."""

    def __init__(self, folder: Path, home: Path) -> None:
        super().__init__(folder)
        mine = {key: value for key, value in self.environment.items() if not key.startswith(("AWS_", "SSH_"))}
        self.environment = mine | {"HOME": str(home), "USERPROFILE": str(home)}


@pytest.fixture
def home(tmp_path) -> Path:
    folder = tmp_path / "home"
    (folder / ".ssh").mkdir(parents=True)
    return folder


@pytest.fixture
def origin(tmp_path, home) -> Checkout:
    """A repository with one result under DVC, committed."""
    folder = tmp_path / "origin"
    (folder / RESULT).parent.mkdir(parents=True)
    np.save(folder / RESULT, np.random.default_rng(0).random(50_000))
    checkout = Checkout(folder, home)
    checkout("git", "init", "-q", "-b", "main")
    checkout("dvc", "init", "-q")
    checkout("dvc", "add", "-q", RESULT)
    return checkout


def _reaches_a_second_clone(origin: Checkout, tmp_path: Path, home: Path, local: list[tuple[str, str]]) -> None:
    """Push, clone elsewhere, pull: the same bytes. local: what each machine must be told (keys, never in git)."""
    tell = [("dvc", "remote", "modify", "--local", "storage", *setting) for setting in local]
    for command in tell:
        origin(*command)
    origin("git", "add", ".")
    origin("git", "commit", "-qm", "results")
    origin("dvc", "push")
    assert not any(secret in origin("git", "show", "HEAD:.dvc/config") for _, secret in local)

    second = Checkout(tmp_path / "second", home)
    origin("git", "clone", "-q", str(origin.folder), str(second.folder))
    for command in tell:
        second(*command)
    second("dvc", "pull")
    assert (second.folder / RESULT).read_bytes() == (origin.folder / RESULT).read_bytes()
    assert "Data and pipelines are up to date" in second("dvc", "status")
    assert "in sync" in second("dvc", "status", "--cloud")


def test_a_folder_carries_results(origin, tmp_path, home):
    origin("dvc", "remote", "add", "-d", "storage", str(tmp_path / "storage"))
    _reaches_a_second_clone(origin, tmp_path, home, [])
    assert list((tmp_path / "storage").rglob("*")), "nothing lies in the folder"


def test_what_the_remote_has_lost_is_named(origin, tmp_path, home):
    origin("dvc", "remote", "add", "-d", "storage", str(tmp_path / "storage"))
    origin("git", "add", ".")
    origin("git", "commit", "-qm", "results")
    second = Checkout(tmp_path / "second", home)
    origin("git", "clone", "-q", str(origin.folder), str(second.folder))
    with pytest.raises(AssertionError, match=RESULT):  # what a clone says of a command that fails
        second("dvc", "pull")


@contextlib.contextmanager
def _ssh_server(folder: Path, home: Path) -> Iterator[tuple[int, Path]]:
    """Port and private key of an SSH server that shows ``folder`` as its root and trusts the holder of that key alone.
    DVC does not look at the server's own key, so that none is made known.
    """
    import asyncssh

    host, user = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    key = home / ".ssh" / "id_ed25519"
    key.write_bytes(user.export_private_key())
    key.chmod(0o600)
    loop, found = asyncio.new_event_loop(), []

    async def serve() -> None:
        trusted = asyncssh.import_authorized_keys(user.export_public_key().decode())
        server = await asyncssh.listen(
            "127.0.0.1", 0, server_host_keys=[host], authorized_client_keys=trusted,
            sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=os.fsencode(folder)),
        )  # fmt: skip
        found.append(server)

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(serve(), loop).result(30)
    port = found[0].get_port()
    try:
        yield port, key
    finally:
        loop.call_soon_threadsafe(found[0].close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


def test_another_machine_over_ssh_carries_results(origin, tmp_path, home):
    served = tmp_path / "served"
    served.mkdir()
    with _ssh_server(served, home) as (port, key):
        origin("dvc", "remote", "add", "-d", "storage", f"ssh://127.0.0.1:{port}/skytrace")
        _reaches_a_second_clone(origin, tmp_path, home, [("user", "astronomer"), ("keyfile", str(key))])
    assert list((served / "skytrace").rglob("*")), "nothing came through the server"


def test_a_stranger_cannot_push_over_ssh(origin, tmp_path, home):
    import asyncssh

    served = tmp_path / "served"
    served.mkdir()
    with _ssh_server(served, home) as (port, key):
        key.write_bytes(asyncssh.generate_private_key("ssh-ed25519").export_private_key())
        origin("dvc", "remote", "add", "-d", "storage", f"ssh://127.0.0.1:{port}/skytrace")
        origin("dvc", "remote", "modify", "--local", "storage", "user", "astronomer")
        origin("dvc", "remote", "modify", "--local", "storage", "keyfile", str(key))
        with pytest.raises(AssertionError, match="Permission denied"):
            origin("dvc", "push")
    assert not list(served.rglob("*"))


@pytest.fixture
def s3() -> Iterator[str]:
    """The address of an S3 of this machine, with the bucket ``sky``."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    client = boto3.client(
        "s3", endpoint_url=address, aws_access_key_id="a", aws_secret_access_key="b", region_name="us-east-1"
    )
    client.create_bucket(Bucket="sky")
    yield address
    server.stop()


def test_s3_carries_results(origin, tmp_path, home, s3):
    origin("dvc", "remote", "add", "-d", "storage", "s3://sky/skytrace")
    origin("dvc", "remote", "modify", "storage", "endpointurl", s3)
    origin("dvc", "remote", "modify", "storage", "region", "us-east-1")
    secrets = [("access_key_id", "who-I-am"), ("secret_access_key", "what-I-know")]
    _reaches_a_second_clone(origin, tmp_path, home, secrets)
    for _, secret in secrets:
        assert secret not in origin("git", "log", "-p")
