"""A network's file gives what the network gives, with nothing of mplframe."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from mplframe import api
from mplframe.errors import UserError

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export") / "run"
    learner = {
        "network": {"name": "small_cnn", "channels": 4, "dropout": 0.5},
        "optimizer": {"name": "sgd", "lr": 0.05},
    }
    config = {
        "data": {"name": "digits", "labeled_per_class": 4},
        "input": {"size": 8, "channels": 1},
        "method": {"name": "supervised", "steps": 5, "batch": 16, "student": {**learner, "ema": 0.9}},
        "trackers": [],
    }
    api.run(api.from_dict(config), out=out)
    return out


@pytest.mark.parametrize("suffix", [".pt2", ".onnx"])
def test_the_file_gives_the_logits_of_the_network(trained: Path, tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"student{suffix}"
    facts = api.export(trained, file)
    assert (facts["role"], facts["step"], facts["input"]) == ("student", 5, [1, 8, 8])
    images = torch.randint(256, (7, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = api.load_trained(trained).network(None)[1].eval()(images).numpy()
    if suffix == ".pt2":
        inside = {"mplframe.json": ""}
        found = torch.export.load(file, extra_files=inside).module()(images).detach().numpy()
        said = json.loads(inside["mplframe.json"])
    else:
        found = onnxruntime.InferenceSession(file).run(None, {"images": images.numpy()})[0]
        said = json.loads({p.key: p.value for p in onnx.load(file).metadata_props}["mplframe"])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert said == {name: facts[name] for name in ("role", "stage", "step", "classes", "input")}


def test_what_cannot_be_written_is_said_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"as \.pt2 or \.onnx, not \.pt$"):
        api.export(tmp_path / "nothing", tmp_path / "a.pt")
