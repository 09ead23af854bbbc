"""Each store is started once, serving the same shards."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import servers
from .hub import fake_hub
from .servers import Address, Store
from .support import SHARDS, Epoch, epochs, training_split, write_shards


@pytest.fixture(scope="session", autouse=True)
def _offline() -> Iterator[None]:
    """No driver looks for credentials on the machine or the network."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_", "GOOGLE_"))]:
            patch.delenv(name)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        yield


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of shards."""
    folder = tmp_path_factory.mktemp("served") / "shards"
    write_shards(folder, SHARDS, "train")
    return folder


@pytest.fixture(scope="session")
def expected(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Epoch:
    """An epoch over the shards in place, in which each sample comes once."""
    split = training_split(Address(str(shards), {}), "auto", tmp_path_factory.mktemp("cache"))
    found = epochs(split)
    assert sorted(int(key) for key, _, _ in found) == list(range(sum(SHARDS)))
    return found


@pytest.fixture(scope="session")
def s3(shards: Path) -> Iterator[Store]:
    """moto's S3."""
    with servers.moto_s3(shards) as store:
        yield store


@pytest.fixture(scope="session")
def http(shards: Path) -> Iterator[Store]:
    """A web server with byte ranges."""
    with servers.http_ranges(shards) as store:
        yield store


@pytest.fixture(scope="session")
def http_plain(shards: Path) -> Iterator[Store]:
    """A web server without byte ranges."""
    with servers.http_plain(shards) as store:
        yield store


@pytest.fixture(scope="session")
def hf(shards: Path) -> Iterator[Store]:
    """A hub with the shards as a data set."""
    with fake_hub(shards) as store:
        yield store


@pytest.fixture(scope="session")
def az(shards: Path) -> Iterator[Store]:
    """Azurite."""
    with servers.azurite(shards) as store:
        yield store


@pytest.fixture(scope="session")
def gs(shards: Path) -> Iterator[Store]:
    """A GCS emulator."""
    with servers.gcs_emulator(shards) as store:
        yield store


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Path]:
    """A cache of the test's own, removed with it."""
    folder = tmp_path / "cache"
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def store(request: pytest.FixtureRequest) -> Store:
    """The store whose fixture is named in an indirect parameter."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Store)
    return found
