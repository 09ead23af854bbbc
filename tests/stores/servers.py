"""Stores that serve a folder of shards on loopback."""

from __future__ import annotations

import asyncio
import logging
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
from aiohttp import web

START = 60.0
"""Seconds that a server may take to start."""

AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Of Azurite's built-in account: public, the same everywhere."""


@dataclass(frozen=True)
class Address:
    """Where a client finds a folder: the URL of the folder and the storage options."""

    url: str
    options: dict[str, Any]


@dataclass(frozen=True)
class Store:
    """A running server.

    Attributes:
        name: of the kind of store.
        port: where it listens.
        at: its folder as seen through another port, such as a proxy's, with a time-out in seconds.
    """

    name: str
    port: int
    at: Callable[[int, float], Address]

    def direct(self, timeout: float = 20.0) -> Address:
        """Its folder, without a proxy between."""
        return self.at(self.port, timeout)


@contextmanager
def moto_s3(folder: Path) -> Iterator[Store]:
    """moto's S3, in a thread."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of moto, werkzeug and botocore while they start
        from moto.server import ThreadedMotoServer

        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
    store = Store("s3", server.get_host_and_port()[1], s3_address)
    try:
        upload(folder, store.direct())
        yield store
    finally:
        server.stop()


def s3_address(port: int, timeout: float) -> Address:
    """The bucket of moto's S3 at a port. Retries are left to s3fs and to mplframe: botocore's own pause for seconds."""
    options = {
        "key": "access",
        "secret": "secret",
        "client_kwargs": {"endpoint_url": f"http://127.0.0.1:{port}"},
        "config_kwargs": {"read_timeout": timeout, "connect_timeout": timeout, "retries": {"max_attempts": 0}},
    }
    return Address("s3://bucket/shards", options)


@contextmanager
def http_ranges(folder: Path) -> Iterator[Store]:
    """A web server that knows byte ranges: nginx where it is installed, else aiohttp's."""
    nginx = shutil.which("nginx")
    with _nginx(nginx, folder) if nginx else _aiohttp(folder) as port:
        yield Store("http", port, http_address)


def http_address(port: int, timeout: float) -> Address:
    """The root of a web server at a port."""
    return Address(f"http://127.0.0.1:{port}", {"timeout": timeout})


@contextmanager
def http_plain(folder: Path) -> Iterator[Store]:
    """Python's own web server, which ignores byte ranges."""
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(folder)]
    with process(command, announces=r"port (\d+)") as port:
        yield Store("http-plain", port, http_address)


@contextmanager
def azurite(folder: Path) -> Iterator[Store]:
    """Azurite, the emulator of Azure's blobs, from npm."""
    options = ["--inMemoryPersistence", "--blobHost", "127.0.0.1", "--blobPort", "0", "--skipApiVersionCheck"]
    command = [needed("azurite-blob", "npm install azurite"), *options, "--disableTelemetry"]
    with process(command, announces=r"listens on http://127.0.0.1:(\d+)") as port:
        store = Store("az", port, azure_address)
        upload(folder, store.direct())
        yield store


def azure_address(port: int, timeout: float) -> Address:
    """The container of Azurite at a port."""
    account = "devstoreaccount1"
    connection = f"DefaultEndpointsProtocol=http;AccountName={account};AccountKey={AZURITE_KEY};"
    endpoint = f"BlobEndpoint=http://127.0.0.1:{port}/{account};"
    return Address(
        "az://bucket/shards",
        {"connection_string": connection + endpoint, "read_timeout": timeout, "connection_timeout": timeout},
    )


@contextmanager
def gcs_emulator(folder: Path) -> Iterator[Store]:
    """gcp-storage-emulator, from PyPI."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "gcp_storage_emulator",
        "start",
        "-H",
        "127.0.0.1",
        "--port",
        str(port),
        "-M",
        "-q",
    ]
    with process(command, listens=port):
        store = Store("gs", port, gcs_address)
        upload(folder, store.direct())
        yield store


def gcs_address(port: int, timeout: float) -> Address:
    """The bucket of a GCS emulator at a port."""
    options = {"endpoint_url": f"http://127.0.0.1:{port}", "token": "anon", "project": "p", "timeout": timeout}
    return Address("gs://bucket/shards", options)


def needed(program: str, install: str) -> str:
    """The path of a program.

    Raises:
        FileNotFoundError: it isn't installed.
    """
    found = shutil.which(program)
    if found is None:
        raise FileNotFoundError(f"{program} isn't on PATH; these tests need it: {install}")
    return found


def free_port() -> int:
    """A port of loopback on which nothing listens now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def process(command: Sequence[str], *, announces: str | None = None, listens: int | None = None) -> Iterator[int]:
    """A server in a process of its own, ended with the block; gives the port.

    Args:
        command: what to start.
        announces: what a line of its output says, with the port as a group.
        listens: the port, where it announces nothing.
    """
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        try:
            yield _announced(server, announces) if announces else _connected(server, listens or 0)
        finally:
            server.terminate()
            try:
                server.communicate(timeout=5)
            except subprocess.TimeoutExpired:
                server.kill()


def _announced(server: subprocess.Popen[str], pattern: str) -> int:
    assert server.stdout
    alarm = threading.Timer(START, server.kill)
    alarm.start()
    try:
        said = []
        for line in server.stdout:
            if match := re.search(pattern, line):
                return int(match[1])
            said.append(line)
    finally:
        alarm.cancel()
    raise RuntimeError(f"{server.args!r} didn't start: {''.join(said)}")


def _connected(server: subprocess.Popen[str], port: int) -> int:
    deadline = time.monotonic() + START
    while time.monotonic() < deadline and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return port
    server.kill()
    raise RuntimeError(f"{server.args!r} didn't start: {server.communicate()[0]}")


@contextmanager
def _aiohttp(folder: Path) -> Iterator[int]:
    application = web.Application()
    application.router.add_static("/", folder, show_index=True)
    with serving(application) as port:
        yield port


@contextmanager
def serving(application: web.Application) -> Iterator[int]:
    """An aiohttp application on loopback, in a thread; gives the port."""
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    thread = threading.Thread(target=loop.run_forever, name="aiohttp")
    thread.start()

    async def begin() -> int:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port: int = runner.addresses[0][1]
        return port

    with ExitStack() as stack:
        stack.callback(loop.close)
        stack.callback(thread.join, 10)
        stack.callback(loop.call_soon_threadsafe, loop.stop)
        stack.callback(lambda: asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10))
        yield asyncio.run_coroutine_threadsafe(begin(), loop).result(10)


@contextmanager
def _nginx(program: str, folder: Path) -> Iterator[int]:
    port, here = free_port(), folder.parent / "nginx"
    here.mkdir()
    temporary = "".join(
        f"{kind}_temp_path {here}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (here / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {here}/pid; error_log {here}/error.log; events {{}} "
        f"http {{ access_log off; {temporary} server {{ listen 127.0.0.1:{port}; root {folder}; }} }}"
    )
    with process([program, "-c", f"{here}/nginx.conf"], listens=port):
        yield port


def upload(folder: Path, address: Address) -> None:
    """Put the files of a folder at an address, in a bucket that is made where there is none."""
    fs, path = fsspec.url_to_fs(address.url, **address.options)
    bucket = path.partition("/")[0]
    if not fs.exists(bucket):
        fs.mkdir(bucket)
    for file in sorted(folder.iterdir()):
        fs.pipe_file(f"{path}/{file.name}", file.read_bytes())
