"""Any classifier of timm, by its name there."""

from typing import Any, Literal, final

import timm
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mplframe.config.base import ComponentConfig
from mplframe.contracts.architecture import Architecture, ImageSpec
from mplframe.errors import UserError, nearest
from mplframe.models.settings import Rate


@final
class TimmModel(Architecture):
    """Builds a model of the timm library, such as `resnet50` or `tf_efficientnet_l2`."""

    class Config(ComponentConfig):
        """Settings of a timm model. What is null keeps the model's own setting.

        Attributes:
            model: name in timm, optionally with the tag of its pretrained weights, as in `resnet50.a1_in1k`.
            dropout: rate before the prediction layer (timm's `drop_rate`).
            stochastic_depth: rate at which the last block is skipped, growing linearly from 0 over the depth (timm's
                `drop_path_rate`). Noisy Student's survival probability of 0.8 is a rate of 0.2.
            bn_decay: weight of the old batch statistics in their running average; torch calls 1 - decay "momentum".
            pretrained: start from published weights, which timm fetches.
        """

        name: Literal["timm"] = "timm"
        model: str = "resnet50"
        dropout: Rate | None = None
        stochastic_depth: Rate | None = None
        bn_decay: Rate | None = None
        pretrained: bool = False

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def build(self, spec: ImageSpec) -> nn.Module:
        """[N, channels, size, size] -> [N, classes]. On the meta device no pretrained weights are fetched.

        Raises:
            UserError: timm has no such model, the model doesn't take these settings, or its weights can't be had.
        """
        config = self.config
        if not timm.is_model(config.model):
            raise UserError(
                f"timm {timm.__version__} has no model {config.model!r}{nearest(config.model, timm.list_models())} "
                f"(`python -c \"import timm; print(timm.list_models('*PART*'))\"` lists names)"
            )
        network = _create(config, spec)
        if config.bn_decay is not None:
            set_bn_decay(network, config.bn_decay, model=config.model)
        return network


def set_bn_decay(network: nn.Module, decay: float, *, model: str) -> None:
    """Set the decay of every batch norm's running statistics.

    Raises:
        UserError: there is no batch norm in the network.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    if not norms:
        raise UserError(f"bn_decay is {decay}, but the timm model {model!r} has no batch norm; set bn_decay: null")
    for norm in norms:
        norm.momentum = 1.0 - decay


def _create(config: TimmModel.Config, spec: ImageSpec) -> nn.Module:
    settings = _settings(config, spec)
    fetch = config.pretrained and torch.get_default_device().type != "meta"
    try:
        network: nn.Module = timm.create_model(config.model, pretrained=fetch, **settings)
    except Exception as error:
        # timm reports refused settings, unknown tags and failed downloads by whatever its constructors raise.
        asked = ", ".join(f"{key}={value}" for key, value in settings.items())
        raise UserError(
            f"timm can't build {config.model!r} with {asked}, pretrained={config.pretrained}: "
            f"{type(error).__name__}: {error}; leave out the setting it names, or choose another model"
        ) from error
    return network


def _settings(config: TimmModel.Config, spec: ImageSpec) -> dict[str, Any]:
    # Only what is set is passed on: a model refuses keys that it doesn't know.
    settings: dict[str, Any] = {"in_chans": spec.channels, "num_classes": spec.classes}
    if config.dropout is not None:
        settings["drop_rate"] = config.dropout
    if config.stochastic_depth is not None:
        settings["drop_path_rate"] = config.stochastic_depth
    if _fixes_input_size(config.model):
        settings["img_size"] = spec.size
    return settings


def _fixes_input_size(model: str) -> bool:
    try:
        published = timm.get_pretrained_cfg(model)
    except RuntimeError as error:
        name = model.partition(".")[0]
        raise UserError(
            f"timm can't build {model!r}: {error} Leave the tag out, or choose one of "
            f"`python -c \"import timm; print(timm.list_pretrained('{name}.*'))\"`"
        ) from error
    return published is not None and bool(published.fixed_input_size)
