from typing import Any

import pytest
import timm
import torch
from timm.layers import DropPath
from torch import nn

from mplframe.contracts.architecture import ImageSpec
from mplframe.errors import UserError
from mplframe.models.timm_model import TimmModel

SPEC = ImageSpec(size=32, channels=3, classes=10)


def on_meta(spec: ImageSpec = SPEC, **settings: Any) -> nn.Module:
    with torch.device("meta"):
        return TimmModel(TimmModel.Config(**settings)).build(spec)


def test_efficientnet_l2_has_the_papers_size() -> None:
    network = on_meta(ImageSpec(512, 3, 1000), model="tf_efficientnet_l2", stochastic_depth=0.2, dropout=0.5)
    # MPL v4, table 1 and Noisy Student, table 2: 480M.
    assert sum(p.numel() for p in network.parameters()) == 480_309_308


def test_channels_and_classes_come_from_the_spec() -> None:
    network = TimmModel(TimmModel.Config(model="resnet10t")).build(ImageSpec(size=32, channels=1, classes=7))
    assert network(torch.randn(2, 1, 32, 32)).shape == (2, 7)


def test_a_network_of_fixed_input_size_is_built_for_the_spec() -> None:
    spec = ImageSpec(size=32, channels=3, classes=7)
    network = on_meta(spec, model="vit_tiny_patch16_224")
    assert network(torch.empty(2, 3, 32, 32, device="meta")).shape == (2, 7)


def test_an_unknown_model_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UserError, match="no model 'resnet5O'; did you mean 'resnet50'"):
        on_meta(model="resnet5O")


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"model": "vgg11", "stochastic_depth": 0.1}, "drop_path_rate"),
        ({"model": "resnet18.no_such_tag"}, "no_such_tag"),
    ],
)
def test_what_the_model_refuses_is_named(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=rf"(?s)timm can't build '{settings['model']}'.*{named}"):
        on_meta(**settings)


def test_stochastic_depth_grows_over_the_blocks() -> None:
    rates = [m.drop_prob for m in on_meta(model="resnet50", stochastic_depth=0.2).modules() if isinstance(m, DropPath)]
    assert rates == sorted(rates)
    assert rates[-1] == pytest.approx(0.2)


def test_dropout_reaches_the_model() -> None:
    assert on_meta(model="resnet18", dropout=0.3).drop_rate == 0.3
    assert on_meta(model="resnet18").drop_rate == 0.0


def test_bn_decay_reaches_every_batch_norm() -> None:
    def momenta(**settings: Any) -> set[float | None]:
        network = on_meta(model="tf_efficientnet_b0", **settings)
        return {m.momentum for m in network.modules() if isinstance(m, nn.BatchNorm2d)}

    assert momenta(bn_decay=0.97) == {1.0 - 0.97}
    own = timm.create_model("tf_efficientnet_b0").modules()
    assert momenta() == {m.momentum for m in own if isinstance(m, nn.BatchNorm2d)}


def test_bn_decay_without_batch_norm_is_refused() -> None:
    with pytest.raises(UserError, match="has no batch norm; set bn_decay: null"):
        on_meta(model="vit_tiny_patch16_224", bn_decay=0.99)


@pytest.mark.parametrize("settings", [{"pretrained": True}, {"pretrained": False}])
def test_planning_fetches_no_weights(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    create = timm.create_model

    def watched(*args: Any, **kwargs: Any) -> Any:
        asked.append(kwargs["pretrained"])
        return create(*args, **kwargs)

    monkeypatch.setattr(timm, "create_model", watched)
    network = on_meta(model="resnet10t", **settings)
    assert asked == [False]
    assert all(p.is_meta for p in network.parameters())


def test_weights_that_cannot_be_fetched_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: Any, **kwargs: Any) -> Any:
        raise OSError("no route to host")

    monkeypatch.setattr("timm.models._builder.load_pretrained", offline)
    with pytest.raises(UserError, match=r"pretrained weights: OSError: no route to host; .* name a file of them"):
        TimmModel(TimmModel.Config(model="resnet10t", pretrained=True)).build(SPEC)
