"""What `mplframe doctor` says of this environment."""

from __future__ import annotations

import json

import pytest
import torch

from .conftest import Cli

pytestmark = pytest.mark.integration


def test_it_says_what_there_is_and_what_to_install(cli: Cli) -> None:
    ran = cli("doctor", "--json")
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert found["devices"][0]["device"] == "cpu"
    backends = {backend["name"]: backend for backend in found["backends"]}
    assert {"single", "ddp", "fsdp", "xla_spmd"} <= backends.keys()
    assert backends["single"]["available"]
    for backend in backends.values():
        assert backend["available"] or "pip install" in backend["reason"]
    assert {"s3fs", "gcsfs", "adlfs"} <= {package["package"] for package in found["optional"]}
    assert found["broken_plugins"] == []


def test_it_says_so_in_words(cli: Cli) -> None:
    ran = cli("doctor")
    assert ran.returncode == 0, ran.stderr
    assert "backend" in ran.stdout
    assert "xla_spmd" in ran.stdout
