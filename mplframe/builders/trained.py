"""Networks that begin with what an earlier run has learned."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Literal, final

import torch
from torch import Tensor, nn

from mplframe.builders.finished import FinishedNetwork, finished_network
from mplframe.builders.maker import Maker
from mplframe.config.base import ComponentConfig
from mplframe.contracts.architecture import Architecture, ImageSpec
from mplframe.errors import CheckpointError, UserError


@final
class Trained(Architecture):
    """Builds a network of a finished run, with its weights: the averaged ones where the run kept an average.

    The run folder has to stay where it is for as long as runs that begin with it are made, resumed or judged.
    """

    class Config(ComponentConfig):
        """Which network.

        Attributes:
            run: the run folder, from where mplframe is started.
            role: such as `teacher`; null for the network that the run was for.
            head: `given` keeps the classifier and asks for the run's classes; `new` begins with a fresh one, for any
                classes.
        """

        name: Literal["trained"] = "trained"
        run: str
        role: str | None = None
        head: Literal["given", "new"] = "given"

    def __init__(self, config: Config, *, make: Maker) -> None:
        self.config = config
        self.make = make

    @cached_property
    def found(self) -> FinishedNetwork:
        """What the run says of the network."""
        return finished_network(self.config.run, self.config.role, self.make)

    def build(self, spec: ImageSpec) -> nn.Module:
        """[N, channels, size, size] -> [N, classes]. On the meta device no weights are read.

        Raises:
            CheckpointError: there is no such run, it hasn't finished, or its weights can't be read.
            UserError: the network takes other images or knows other classes.
        """
        self.trained(spec)
        architecture = self.untrained()
        network = architecture.build(spec)
        if torch.get_default_device().type != "meta":
            weights = self.found.weights()
            fresh = head_names(architecture, spec) if self.config.head == "new" else frozenset()
            _load(network, {n: w for n, w in weights.items() if n not in fresh}, fresh, self.found, spec)
        return network

    @property
    def clips(self) -> bool:
        return self.untrained().clips

    def trained(self, spec: ImageSpec) -> bool:
        """Whether the classifier is the run's too.

        Raises:
            CheckpointError, UserError: as `build`.
        """
        check_fit(self.found, spec, head=self.config.head)
        return self.config.head == "given"

    def untrained(self) -> Architecture:
        """The architecture that the run trained."""
        architecture: Architecture = self.make("architecture", self.found.architecture)
        return architecture.untrained()


def check_fit(found: FinishedNetwork, spec: ImageSpec, *, head: Literal["given", "new"]) -> None:
    """See that a network can be given these images and, with its own head, asked for these classes.

    Raises:
        UserError: says what differs and what to set.
    """
    own = found.spec
    for what, theirs, ours in (("channels", own.channels, spec.channels), ("frames", own.frames, spec.frames)):
        if theirs != ours:
            raise UserError(f"{found} takes {theirs} {what} and is given {ours}; give both runs the same input")
    if None not in (own.normalisation, spec.normalisation) and own.normalisation != spec.normalisation:
        mean, std = (list(values) for values in own.normalisation or ())
        raise UserError(
            f"{found} learned from images normalised otherwise; set input.mean={mean} and input.std={std}, as there"
        )
    if head == "given":
        _check_classes(found, spec)


def _check_classes(found: FinishedNetwork, spec: ImageSpec) -> None:
    remedy = "head: new gives it a fresh classifier, to be trained for these"
    if found.spec.classes != spec.classes:
        raise UserError(f"{found} knows {found.spec.classes} classes, but the data have {spec.classes}; {remedy}")
    # Suites know no names.
    for number, (theirs, ours) in enumerate(zip(found.spec.names, spec.names, strict=False)):
        if theirs != ours:
            raise UserError(
                f"class {number} of {found} is {theirs!r}, in the data it is {ours!r}; if they are the same, name them "
                f"alike in both; if not, {remedy}"
            )


def head_names(architecture: Architecture, spec: ImageSpec) -> frozenset[str]:
    """Names of the parameters and buffers whose shape depends on the number of classes."""
    with torch.device("meta"):
        one, other = (architecture.build(replace(spec, classes=spec.classes + more)) for more in (0, 1))
    shapes = {name: tensor.shape for name, tensor in other.state_dict().items()}
    return frozenset(name for name, tensor in one.state_dict().items() if tensor.shape != shapes.get(name))


def _load(
    network: nn.Module, weights: dict[str, Tensor], fresh: frozenset[str], found: FinishedNetwork, spec: ImageSpec
) -> None:
    own = network.state_dict()
    if odd := sorted((own.keys() - fresh) ^ weights.keys()):
        raise CheckpointError(f"{found}: {odd[0]!r} is either in its weights or in its network, but not in both")
    for name, weight in weights.items():
        if weight.shape != own[name].shape:
            raise UserError(
                f"{found} was built for images of {found.spec.size} pixels and its {name} doesn't fit those of "
                f"{spec.size}; set the input's size to {found.spec.size}"
            )
    network.load_state_dict(weights, strict=False)
