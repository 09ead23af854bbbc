"""Any classifier of timm, by its name there, with published weights or those of a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, Literal, final

import fsspec
import timm
import torch
from timm.models import load_state_dict
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mplframe.config.base import ComponentConfig
from mplframe.contracts.architecture import Architecture, ImageSpec
from mplframe.errors import UserError, nearest
from mplframe.models.settings import Rate

CLOSE = 1e-3
"""Difference of means and standard deviations, in units of the [0, 1] pixel range, that no network notices."""


def published(model: str) -> Any:
    """What timm says of the weights that it has published for a model.

    Raises:
        UserError: it has none of that tag.
    """
    try:
        return timm.get_pretrained_cfg(model)
    except RuntimeError as error:
        name = model.partition(".")[0]
        raise UserError(
            f"timm can't build {model!r}: {error} Leave the tag out, or choose one of "
            f"`python -c \"import timm; print(timm.list_pretrained('{name}.*'))\"`"
        ) from error


def check_normalisation(model: str, spec: ImageSpec) -> None:
    """See that images are normalised as they were when published weights were learned.

    Raises:
        UserError: says what to set.
    """
    said = published(model)
    if spec.normalisation is None or spec.channels != 3 or said is None:
        return
    if any(_far(a, b) for a, b in zip((said.mean, said.std), spec.normalisation, strict=True)):
        raise UserError(
            f"the weights of {model!r} were learned from images normalised otherwise; set "
            f"input.mean={list(said.mean)} and input.std={list(said.std)}"
        )


def _far(a: Sequence[float], b: Sequence[float]) -> bool:
    return any(abs(x - y) > CLOSE for x, y in zip(a, b, strict=True))


@contextmanager
def local_file(url: str) -> Iterator[str]:
    """The path of a file on any store, fetched for the length of the block where it isn't here.

    Raises:
        UserError: it can't be had.
    """
    with TemporaryDirectory() as folder:
        try:
            fs, path = fsspec.url_to_fs(url)
            if "file" not in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol):
                remote, path = path, f"{folder}/{PurePosixPath(path).name}"
                fs.get_file(remote, path)
            elif not fs.isfile(path):
                raise FileNotFoundError("there is no such file")
        except Exception as error:  # a driver may raise anything
            raise UserError(
                f"the weights {url} can't be had: {error or type(error).__name__}; check the path"
            ) from error
        yield path


@cache
def classes_of(url: str, model: str) -> int | None:
    """Classes of the classifier in a file for a model; None where it has none."""
    with local_file(url) as path:
        try:
            state = load_state_dict(path)
        except Exception as error:  # a damaged file can raise almost anything
            raise UserError(f"{url} can't be read as weights: {type(error).__name__}: {error}") from error
    classifiers = published(model).classifier or ()
    names = (classifiers,) if isinstance(classifiers, str) else classifiers
    return next((len(state[f"{name}.weight"]) for name in names if f"{name}.weight" in state), None)


def from_file(path: str, classes: int | None) -> Mapping[str, Any]:
    """Arguments of `timm.create_model` that make it begin with a file.

    Args:
        path: of the file, here.
        classes: of its classifier, if it has one.
    """
    counted = {} if classes is None else {"num_classes": classes}
    return {
        "pretrained": True,
        # timm knows no offset of classes and no format of its own in files of a user's.
        "pretrained_cfg_overlay": {"file": path, "custom_load": False, "label_offset": None, **counted},
    }


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
            pretrained: begin with the weights that `model` names, which timm fetches once.
            weights: path or URL of a file to begin with instead: a state dict or a checkpoint of timm, `.pth`, `.pt` or
                `.safetensors`. As with `pretrained`, a classifier of other classes is replaced by a fresh one.
        """

        name: Literal["timm"] = "timm"
        model: str = "resnet50"
        dropout: Rate | None = None
        stochastic_depth: Rate | None = None
        bn_decay: Rate | None = None
        pretrained: bool = False
        weights: str | None = None

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def build(self, spec: ImageSpec) -> nn.Module:
        """[N, channels, size, size] -> [N, classes]. On the meta device no pretrained weights are fetched.

        Raises:
            UserError: timm has no such model, the model doesn't take these settings, its weights can't be had, or they
                expect images that are normalised otherwise.
        """
        config = self.config
        self._check(spec)
        network = _create(config, spec)
        if config.bn_decay is not None:
            set_bn_decay(network, config.bn_decay, model=config.model)
        return network

    def trained(self, spec: ImageSpec) -> bool:
        """Whether there are weights, and their classifier is kept: it has as many classes.

        Raises:
            UserError: as `build`.
        """
        config = self.config
        self._check(spec)
        if config.weights is not None:
            return classes_of(config.weights, config.model) == spec.classes
        return config.pretrained and getattr(published(config.model), "num_classes", None) == spec.classes

    def untrained(self) -> TimmModel:
        """The model without published weights."""
        return TimmModel(self.config.model_copy(update={"pretrained": False, "weights": None}))

    def _check(self, spec: ImageSpec) -> None:
        config = self.config
        if not timm.is_model(config.model):
            raise UserError(
                f"timm {timm.__version__} has no model {config.model!r}{nearest(config.model, timm.list_models())} "
                f"(`python -c \"import timm; print(timm.list_models('*PART*'))\"` lists names)"
            )
        if config.pretrained and config.weights is None:
            check_normalisation(config.model, spec)


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
    if torch.get_default_device().type == "meta":
        return _made(config, settings, pretrained=False)
    if config.weights is None:
        return _made(config, settings, pretrained=config.pretrained)
    classes = classes_of(config.weights, config.model)
    with local_file(config.weights) as path:
        return _made(config, settings, **from_file(path, classes))


def _made(config: TimmModel.Config, settings: Mapping[str, Any], **weights: Any) -> nn.Module:
    try:
        network: nn.Module = timm.create_model(config.model, **settings, **weights)
    except Exception as error:
        # timm reports refused settings, files that don't fit and failed downloads by whatever its parts raise.
        asked = ", ".join(f"{key}={value}" for key, value in settings.items())
        raise UserError(
            f"timm can't build {config.model!r} with {asked}{_begun(config)}: {type(error).__name__}: {error}; "
            f"{_remedy(config)}"
        ) from error
    return network


def _begun(config: TimmModel.Config) -> str:
    if config.weights is not None:
        return f" and the weights {config.weights}"
    return " and pretrained weights" if config.pretrained else ""


def _remedy(config: TimmModel.Config) -> str:
    if config.weights is not None:
        return "give a file that was made for this model"
    if config.pretrained:
        return (
            "timm fetches them from the Hugging Face hub: run it once where that can be reached, or name a file of "
            "them in `weights`"
        )
    return "leave out the setting it names, or choose another model"


def _settings(config: TimmModel.Config, spec: ImageSpec) -> dict[str, Any]:
    # Only what is set is passed on: a model refuses keys that it doesn't know.
    settings: dict[str, Any] = {"in_chans": spec.channels, "num_classes": spec.classes}
    if config.dropout is not None:
        settings["drop_rate"] = config.dropout
    if config.stochastic_depth is not None:
        settings["drop_path_rate"] = config.stochastic_depth
    said = published(config.model)
    if said is not None and said.fixed_input_size:
        settings["img_size"] = spec.size
    return settings
