"""LARS: a learning rate of its own for each weight tensor."""

from typing import Annotated, Any, Literal, final

import torch
from pydantic import Field, PositiveFloat
from timm.optim.lars import Lars

from mplframe.contracts.optimizer import OptimizerConfig, OptimizerFactory


@final
class LARS(OptimizerFactory):
    """`timm.optim.Lars` (You et al., "Large Batch Training of Convolutional Networks", 2017). For each tensor, with
    gradient g, weight decay w, trust coefficient c, momentum m and learning rate lr, a step is

    `r = c |theta| / (|g| + w |theta| + 1e-8);  u = r (g + w theta);  b = m b + u  (b = u at first);  theta -= lr b`,

    with r = 1 where theta or g is 0. Norms and biases take r = 1 and no decay, which is plain momentum; with
    `decay_all` they are treated like weights. Weights are adapted whether or not they decay.

    MPL v4, C.4 finetunes with momentum 0.9 and a learning rate of 0.001 for 20,000 steps of 4,096 images and calls
    these LARS's default parameters. It doesn't mention c; 0.001 is the default of You et al.
    """

    class Config(OptimizerConfig):
        """Settings of LARS.

        Attributes:
            lr: peak learning rate, for one step; it multiplies the adapted rates.
            momentum: what is kept of the velocity from step to step.
            trust: c, the size of a step relative to the weights at lr = 1.
            weight_decay: L2 penalty of the parameters that decay, added to the gradient.
            decay_all: norms and biases decay and adapt too.
        """

        name: Literal["lars"] = "lars"
        lr: PositiveFloat = 0.001
        momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
        trust: PositiveFloat = 0.001

    config: Config

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def build(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """The optimizer over parameter groups that already carry their `weight_decay`."""
        config = self.config
        # timm adapts a group without decay only on request, which would leave undecayed weights to plain SGD.
        adapted = [{**group, "always_adapt": any(p.ndim > 1 for p in group["params"])} for group in groups]
        optimizer: torch.optim.Optimizer = Lars(
            adapted, lr=config.lr, momentum=config.momentum, trust_coeff=config.trust
        )
        return optimizer
