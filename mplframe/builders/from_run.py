"""Networks that begin with what a finished run has learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, final

import torch
from torch import Tensor, nn

from mplframe.builders.context import image_spec, method_label
from mplframe.builders.maker import Maker
from mplframe.builders.stored import StoredConfig
from mplframe.checkpoint.run_folder import RunFolder
from mplframe.config.base import ComponentConfig
from mplframe.contracts.architecture import Architecture, ImageSpec
from mplframe.contracts.method import Plan, PlannedNetwork, StagePlan
from mplframe.errors import CheckpointError, UserError, nearest
from mplframe.io.files import expanded

BODY = "body."
"""What the names of an architecture's own tensors begin with in an artifact."""


@dataclass(frozen=True)
class RunNetwork:
    """A network that a finished run left.

    Attributes:
        folder: of the run.
        method: under which the run keeps it.
        role: likewise.
        architecture: its settings.
        spec: what it takes in and gives out.
    """

    folder: RunFolder
    method: str
    role: str
    architecture: ComponentConfig
    spec: ImageSpec

    def __str__(self) -> str:
        return f"the {self.role} of {self.folder.path}"

    def weights(self) -> dict[str, Tensor]:
        """Its parameters and buffers, as the architecture names them; the average where the run kept one.

        Raises:
            CheckpointError: they aren't there, or are damaged.
        """
        kept = self.folder.artifact(self.method, self.role)
        return {name.removeprefix(BODY): value for name, value in kept.items()}


def finished_network(run: str, role: str | None, make: Maker, *, trust: bool = False) -> RunNetwork:
    """Look up a network of a finished run; no weights are read.

    Args:
        run: the run folder.
        role: such as `teacher`; None for the one that the run was for.
        make: makes components.
        trust: see `StoredConfig`.

    Raises:
        CheckpointError: it isn't a run folder, the run hasn't finished, or its config isn't valid here.
        UserError: the run left no network of that role, or its settings lead elsewhere and aren't trusted.
    """
    folder = _finished(expanded(str(run)))
    stored = StoredConfig(folder, make, trust=trust)
    stored.check("method", "baselines")
    config = stored.config
    plans = list(make("method", config.method).stages(make))
    networks = _left(plans)
    chosen = role or plans[-1].networks[0].role
    if chosen not in networks:
        raise UserError(f"{run} left no network {chosen!r}{nearest(chosen, networks)} (it left: {', '.join(networks)})")
    network = networks[chosen]
    method = method_label(len(config.baselines), config.method)
    return RunNetwork(folder, method, chosen, network.architecture, network.spec(image_spec(config, stored.classes)))


def _finished(path: Path) -> RunFolder:
    folder = RunFolder(path)
    if not folder.config.is_file() or not folder.manifest.is_file():
        raise CheckpointError(f"{path} isn't a run folder: it has no {folder.config.name} and {folder.manifest.name}")
    if not folder.summary.is_file():
        raise CheckpointError(f"the run in {path} hasn't finished; the command that started it goes on with it")
    return folder


def _left(plans: Sequence[Plan]) -> dict[str, PlannedNetwork]:
    """By role, as the last stage leaves each."""
    return {n.role: n for plan in plans for n in plan.networks if isinstance(plan, StagePlan) or n.given}


@final
class FromRun(Architecture):
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
            trust: the run may be somebody else's and name functions, URLs and files outside its folder.
        """

        name: Literal["trained"] = "trained"
        run: str
        role: str | None = None
        head: Literal["given", "new"] = "given"
        trust: bool = False

    def __init__(self, config: Config, *, make: Maker) -> None:
        self.config = config
        self.make = make

    @cached_property
    def found(self) -> RunNetwork:
        """What the run says of the network."""
        return finished_network(self.config.run, self.config.role, self.make, trust=self.config.trust)

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


def check_fit(found: RunNetwork, spec: ImageSpec, *, head: Literal["given", "new"]) -> None:
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


def _check_classes(found: RunNetwork, spec: ImageSpec) -> None:
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
    network: nn.Module, weights: dict[str, Tensor], fresh: frozenset[str], found: RunNetwork, spec: ImageSpec
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
