"""A method is a plan of stages; a stage is a number of equal steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import nn

from mplframe.config.base import ComponentConfig
from mplframe.contracts.architecture import ImageSpec
from mplframe.contracts.backend import Backend
from mplframe.contracts.batch import Batch, Metrics
from mplframe.contracts.data import EvaluationBatch, Split, SplitName
from mplframe.contracts.loss import VIEWS, View, of_labeled
from mplframe.contracts.optimizer import Lookahead


@dataclass(frozen=True)
class Streams:
    """What a stage wants to be fed in each step.

    Attributes:
        labeled: samples of the labeled stream.
        unlabeled: samples of the unlabeled stream; 0 for none.
        views: what the stage looks at; no strong view is made that isn't among them.
        accumulate: micro-batches that a step is cut into; each stream's size is a multiple of it.
        assigned: name of the manifest, left by an earlier task of the method, that says which unlabeled samples there
            are and what each is to be taken for; empty for the unlabeled split as it is.
        size: height and width of the images, in training and evaluation; None for the run's own.
        augmented: the streams whose views are augmented; those of the others are made as for evaluation.
    """

    labeled: int
    unlabeled: int = 0
    views: frozenset[View] = frozenset(VIEWS)
    accumulate: int = 1
    assigned: str = ""
    size: int | None = None
    augmented: frozenset[Literal["labeled", "unlabeled"]] = frozenset({"labeled", "unlabeled"})

    def shared_by(self, processes: int) -> Streams:
        """As so many processes are fed: where nothing looks at labeled samples, each has one in every micro-batch."""
        return self if self._sees_labeled else replace(self, labeled=self.accumulate * processes)

    @property
    def images(self) -> int:
        """Samples that a step learns from, over all processes."""
        return self.unlabeled + (self.labeled if self._sees_labeled else 0)

    @property
    def _sees_labeled(self) -> bool:
        return any(map(of_labeled, self.views))


@dataclass(frozen=True)
class Pass:
    """One pass through a network in every step, for `mplframe plan`.

    Attributes:
        images: per step.
        backward: whether gradients follow.
    """

    network: str
    images: int
    backward: bool


@dataclass(frozen=True)
class PlannedNetwork:
    """A network that a stage uses, for `mplframe plan`.

    Attributes:
        role: such as `teacher`.
        architecture: its settings.
        optimizer: settings of its optimizer; None for a network that isn't trained.
        lr_scale: what the optimizer's learning rate is multiplied by.
        ema: whether an average of its weights is kept.
        schedule: settings of its learning rate's schedule, if any.
        distributions: whether it takes probabilities instead of images.
        freeze: patterns of names of parameters that aren't trained.
        size: height and width of the images that it is built for; None for the run's own.
        given: it has to begin with trained weights, since no stage trains it.
    """

    role: str
    architecture: ComponentConfig
    optimizer: ComponentConfig | None
    lr_scale: float = field(default=1.0, kw_only=True)
    ema: bool = False
    schedule: ComponentConfig | None = None
    distributions: bool = False
    freeze: Sequence[str] = ()
    size: int | None = None
    given: bool = False

    def spec(self, images: ImageSpec) -> ImageSpec:
        """What it takes in and gives out in a run on these images."""
        own = replace(images, size=self.size or images.size)
        return own.of_distributions if self.distributions else own


class Stage(ABC):
    """Live state of one stage: networks, optimizers, feedback. Built when the stage begins."""

    @abstractmethod
    def step(self, batches: Sequence[Batch], step: int) -> Metrics:
        """One step on one global batch, given as micro-batches on the device.

        No host sync: metrics are 0-d tensors that stay where they are. Randomness comes from the step's number.

        Args:
            batches: `Streams.accumulate` micro-batches.
            step: from 0.
        """

    @abstractmethod
    def networks(self, weights: str) -> Mapping[str, nn.Module]:
        """What can be evaluated, by role; the first is the one that the stage is for.

        Args:
            weights: `ema` gives the averaged network where one is kept, `raw` never does.
        """

    @abstractmethod
    def artifacts(self) -> Mapping[str, Mapping[str, Any]]:
        """What later stages may start from, by role: state dicts of networks as the stage leaves them."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""


Make = Callable[[str, ComponentConfig], Any]
"""From a kind and a config to the live component, collaborators included."""


class StageContext(Protocol):
    """What a stage is handed when it is built."""

    @property
    def backend(self) -> Backend: ...

    @property
    def spec(self) -> ImageSpec: ...

    @property
    def seed(self) -> int: ...

    def make(self, kind: str, config: ComponentConfig) -> Any:
        """The live component behind a config, collaborators included."""

    def network(
        self,
        config: ComponentConfig,
        role: str,
        *,
        distributions: bool = False,
        size: int | None = None,
        state: Mapping[str, Any] | None = None,
    ) -> nn.Module:
        """A prepared network with seeded initial weights: the same for the same seed and role.

        Args:
            config: of its architecture.
            role: such as `teacher`.
            distributions: whether it takes [N, C] probabilities instead of images; see `ImageSpec.of_distributions`.
            size: height and width of the images that it is built for; the run's own by default.
            state: weights to begin with instead, such as an `artifact`.
        """

    def lookahead(self, optimizer: torch.optim.Optimizer) -> Lookahead:
        """The registered lookahead that describes this optimizer."""

    def folder(self, name: str) -> Path:
        """Where the method keeps the files of that name in the run folder; made if it isn't there."""

    def artifact(self, role: str) -> Mapping[str, Any]:
        """The state dict that an earlier stage left under this role.

        Raises:
            UserError: no stage did.
        """


@dataclass(frozen=True)
class StagePlan:
    """One stage before it is built: all that can be known without data or weights.

    Attributes:
        name: unique within the method, such as `mpl`.
        steps: how many.
        streams: what each step is fed.
        networks: what is trained or asked; the first is the one that the stage is for.
        passes: what each step computes.
        build: makes the live stage.
    """

    name: str
    steps: int
    streams: Streams
    networks: Sequence[PlannedNetwork]
    passes: Sequence[Pass]
    build: Callable[[StageContext], Stage]


class TaskContext(StageContext, Protocol):
    """What a task is handed: what a stage is, and the data."""

    def split(self, name: SplitName) -> Split:
        """A split of the dataset.

        Raises:
            DataError: there is none of that name.
        """

    def copies(self) -> Sequence[str]:
        """Keys of the unlabeled samples that what judges or chooses holds too; nothing may learn from them."""

    def labeled_keys(self) -> Sequence[str]:
        """Keys of all labeled samples, those that are held out among them."""

    def inputs(
        self, split: Split, numbers: range, *, augmented: bool = False, size: int | None = None
    ) -> Iterator[EvaluationBatch]:
        """Samples of a split in order, as networks take them in evaluation; damaged ones are left out.

        Args:
            split: where they come from.
            numbers: which.
            augmented: give their strong views instead.
            size: height and width of the images; the run's own by default.
        """

    def judge(self, networks: Mapping[str, nn.Module], size: int | None = None) -> dict[str, dict[str, float]]:
        """Metrics of networks on the test split, by role, the same in every process.

        Args:
            networks: by role.
            size: height and width of the images; the run's own by default.
        """

    def keep(self, role: str, state: Mapping[str, Any]) -> None:
        """Leave a state dict for later stages, which get it as the `artifact` of that role."""

    def check(self) -> None:
        """To be called often.

        Raises:
            Interrupted: the run was told to stop.
        """

    def tell(self, text: str) -> None:
        """One line for whoever watches the run."""


@dataclass(frozen=True)
class TaskPlan:
    """Work between stages of training, such as labelling. It has no steps and no checkpoints.

    Attributes:
        name: unique within the method.
        networks: what is asked, for `mplframe plan`; none of them is trained.
        run: does it, and gives plain values for the summary. Run again after it was cut off, it goes on by what lies in
            its folder; run again when all is done, it changes nothing.
        tags: whether it needs unlabeled samples with tags.
    """

    name: str
    networks: Sequence[PlannedNetwork]
    run: Callable[[TaskContext], Mapping[str, Any]]
    tags: bool = False


Plan = StagePlan | TaskPlan


class Method(ABC):
    """Turns its `Config` into stages. Third parties: extend this and register it as a `method`."""

    Config: type[ComponentConfig]

    @abstractmethod
    def stages(self, make: Make) -> Sequence[Plan]:
        """The stages and tasks in order; the last is a stage. Cheap: builds no network.

        Args:
            make: gives the live component behind a config.

        Raises:
            UserError: the settings can't make a plan.
        """
