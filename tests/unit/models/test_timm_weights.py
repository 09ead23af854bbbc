"""Weights for models of timm, from files that timm's own models were saved to."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from mplframe.contracts.architecture import ImageSpec
from mplframe.errors import UserError
from mplframe.models.timm_model import TimmModel

MODEL = "test_resnet.r160_in1k"
HALVES = ((0.5,) * 3, (0.5,) * 3)
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def spec(classes: int = 5, channels: int = 3, **more: Any) -> ImageSpec:
    return ImageSpec(size=32, channels=channels, classes=classes, **more)


@pytest.fixture
def saved() -> nn.Module:
    torch.manual_seed(3)
    network: nn.Module = timm.create_model(MODEL, num_classes=5)
    return network


@pytest.fixture(params=["weights.pth", "weights.safetensors", "checkpoint.pth", "store"])
def weights(request: pytest.FixtureRequest, saved: nn.Module, tmp_path: Path) -> Iterator[str]:
    state = saved.state_dict()
    path = tmp_path / request.param.replace("store", "store.pth")
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"epoch": 3, "state_dict": state} if path.stem == "checkpoint" else state, path)
    if request.param != "store":
        yield str(path)
        return
    memory = fsspec.filesystem("memory")
    memory.put(str(path), "/timm/store.pth")
    yield "memory://timm/store.pth"
    memory.rm("/timm", recursive=True)


def model(weights: str, **settings: Any) -> TimmModel:
    return TimmModel(TimmModel.Config(model=MODEL, weights=weights, **settings))


def different(network: nn.Module, saved: nn.Module) -> list[str]:
    known = saved.state_dict()
    return [name for name, value in network.state_dict().items() if not torch.equal(value, known[name])]


def test_it_begins_with_the_file_and_with_its_classifier_where_classes_are_as_many(
    weights: str, saved: nn.Module
) -> None:
    architecture = model(weights)
    assert architecture.trained(spec())
    assert different(architecture.build(spec()), saved) == []
    assert not architecture.trained(spec(7))
    network = architecture.build(spec(7))
    assert [name for name, value in network.state_dict().items() if value.shape != saved.state_dict()[name].shape] == [
        "fc.weight",
        "fc.bias",
    ]
    body = {name: value for name, value in network.state_dict().items() if not name.startswith("fc.")}
    assert all(torch.equal(value, saved.state_dict()[name]) for name, value in body.items())


def test_planning_reads_no_file_and_other_weights_take_its_place() -> None:
    architecture = model("nowhere.pth", bn_decay=0.5)
    with torch.device("meta"):
        assert all(p.is_meta for p in architecture.build(spec()).parameters())
    assert architecture.untrained().build(spec()).state_dict().keys()


@pytest.mark.parametrize("ask", ["build", "trained"])
def test_a_file_that_cannot_be_had_is_named(tmp_path: Path, ask: str) -> None:
    with pytest.raises(UserError, match=r"the weights nowhere\.pth can't be had: there is no such file"):
        getattr(model("nowhere.pth"), ask)(spec())
    torn = tmp_path / "torn.pth"
    torn.write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(UserError, match=r"torn\.pth can't be read as weights"):
        getattr(model(str(torn)), ask)(spec())


def test_a_file_of_another_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save(timm.create_model("test_efficientnet", num_classes=5).state_dict(), path)
    with pytest.raises(
        UserError, match=r"(?s)and the weights .*other\.pth: .*give a file that was made for this model"
    ):
        model(str(path)).build(spec())


def test_published_weights_ask_for_the_normalisation_that_they_learned_with() -> None:
    architecture = TimmModel(TimmModel.Config(model=MODEL, pretrained=True))
    with torch.device("meta"):
        architecture.build(spec(normalisation=HALVES))
    for ask in (architecture.trained, architecture.build):
        with pytest.raises(
            UserError, match=r"set input\.mean=\[0\.5, 0\.5, 0\.5\] and input\.std=\[0\.5, 0\.5, 0\.5\]"
        ):
            ask(spec(normalisation=IMAGENET))
    assert architecture.trained(spec(1000))
    assert not architecture.trained(spec(10))
