import json
import time
from typing import Any

import pytest

from mplframe.config.base import ComponentConfig
from mplframe.contracts.architecture import Architecture, ImageSpec
from mplframe.contracts.method import Pass, PlannedNetwork, StagePlan, Streams
from mplframe.contracts.optimizer import OptimizerFactory
from mplframe.errors import UserError
from mplframe.models.mlp import MLP
from mplframe.models.timm_model import TimmModel
from mplframe.optim.lars import LARS
from mplframe.optim.rmsprop import RMSProp
from mplframe.optim.sgd import SGD
from mplframe.planning.cost import PlanCost, plan_cost

SMALL = ImageSpec(size=4, channels=1, classes=2)
# An MLP of 16 -> 8 -> 2: by hand, for one image.
PARAMETERS = 17 * 8 + 9 * 2
FLOPS = 2 * (16 * 8 + 8 * 2)
ACTIVATIONS = 4 * (16 + 8)
MLP_CONFIG = MLP.Config(hidden=(8,), activation="sigmoid")


def architecture(config: ComponentConfig) -> Architecture:
    return {"mlp": MLP, "timm": TimmModel}[config.name](config)


def optimizer(config: ComponentConfig) -> OptimizerFactory:
    return {"sgd": SGD, "rmsprop": RMSProp, "lars": LARS}[config.name](config)


def never(context: Any) -> Any:
    raise AssertionError("planning builds no stage")


def network(role: str, *, ema: bool = False) -> PlannedNetwork:
    return PlannedNetwork(role, MLP_CONFIG, SGD.Config(), ema=ema)


def cost_of(*stages: StagePlan, spec: ImageSpec = SMALL) -> PlanCost:
    return plan_cost(stages, spec, architecture=architecture, optimizer=optimizer)


def mpl(accumulate: int = 1) -> StagePlan:
    passes = (Pass("student", 6, True), Pass("student", 4, True), Pass("teacher", 16, True), Pass("teacher", 6, False))
    networks = (network("student", ema=True), network("teacher"))
    return StagePlan("mpl", 100, Streams(4, 6, accumulate=accumulate), networks, passes, never)


def test_a_stage_adds_up() -> None:
    (stage,) = cost_of(mpl()).stages
    student, teacher = stage.networks
    assert (stage.name, stage.steps, stage.images_per_step, stage.images) == ("mpl", 100, 10, 1000)
    assert stage.flops_per_step == FLOPS * (3 * (6 + 4 + 16) + 6)
    assert stage.flops == 100 * stage.flops_per_step
    assert (student.role, teacher.role) == ("student", "teacher")
    assert student.parameters == teacher.parameters == PARAMETERS
    assert (student.ema_bytes, teacher.ema_bytes) == (4 * PARAMETERS, 0)
    assert student.state_bytes == 4 * 4 * PARAMETERS
    assert teacher.state_bytes == 3 * 4 * PARAMETERS
    assert stage.activation_bytes == ACTIVATIONS * (6 + 4 + 16)
    assert stage.peak_bytes == stage.activation_bytes + 7 * 4 * PARAMETERS


def test_micro_batches_share_the_activations_but_not_the_flops() -> None:
    (whole,), (halved,) = cost_of(mpl()).stages, cost_of(mpl(accumulate=2)).stages
    assert halved.activation_bytes * 2 == whole.activation_bytes
    assert halved.flops_per_step == whole.flops_per_step


def test_stages_keep_their_order_and_their_optimizers() -> None:
    finetune = StagePlan(
        "finetune",
        10,
        Streams(8, views=frozenset({"labeled"})),
        (PlannedNetwork("student", MLP_CONFIG, RMSProp.Config()),),
        (Pass("student", 8, True),),
        never,
    )
    first, second = cost_of(mpl(), finetune).stages
    assert (first.name, second.name) == ("mpl", "finetune")
    assert first.networks[0].optimizer_bytes == 4 * PARAMETERS
    assert second.networks[0].optimizer_bytes == 4 * (2 * PARAMETERS + 4)
    assert second.networks[0].ema_bytes == 0


def test_batch_statistics_count_as_buffers() -> None:
    planned = PlannedNetwork("student", TimmModel.Config(model="resnet18"), SGD.Config(), ema=True)
    (stage,) = cost_of(StagePlan("s", 1, Streams(1), (planned,), (), never), spec=ImageSpec(32, 3, 10)).stages
    (found,) = stage.networks
    # 20 batch norms with 4,800 channels in all: mean and variance in float32, and an int64 counter each.
    assert found.buffers == 2 * 4800 + 20
    assert found.weight_bytes == found.ema_bytes == 4 * (found.parameters + 2 * 4800) + 8 * 20
    assert found.gradient_bytes == 4 * found.parameters


def test_the_learning_rate_is_that_of_the_batch() -> None:
    trained = PlannedNetwork("student", network("student").architecture, SGD.Config(lr=0.1), lr_scale=6.0)
    asked = PlannedNetwork("teacher", network("student").architecture, optimizer=None)
    (stage,) = cost_of(StagePlan("s", 1, Streams(1), (trained, asked), (), never)).stages
    assert [found.lr for found in stage.networks] == [pytest.approx(0.6), None]


def test_a_pass_through_an_unplanned_network_is_an_error() -> None:
    stage = StagePlan("odd", 1, Streams(2), (network("student"),), (Pass("teacher", 2, False),), never)
    with pytest.raises(UserError, match=r"stage 'odd' plans passes through teacher, but its networks are student"):
        cost_of(stage)


def test_it_is_json() -> None:
    plain = cost_of(mpl()).to_json()
    assert json.loads(json.dumps(plain)) == plain
    (stage,) = plain["stages"]
    assert stage["networks"][0]["forward_flops"] == FLOPS
    assert set(stage) == {
        "name", "steps", "images_per_step", "images", "networks", "flops_per_step", "flops", "activation_bytes",
        "peak_bytes", "estimated", "on_device",
    }  # fmt: skip


def test_efficientnet_l2_at_512_pixels_plans_in_seconds() -> None:
    config = TimmModel.Config(model="tf_efficientnet_l2", stochastic_depth=0.2, dropout=0.5)
    roles = tuple(PlannedNetwork(role, config, RMSProp.Config(), ema=True) for role in ("student", "teacher"))
    passes = (Pass("student", 2048, True), Pass("teacher", 3 * 2048, True))
    start = time.perf_counter()
    (stage,) = cost_of(
        StagePlan("mpl", 1000, Streams(2048, 2048, accumulate=2048), roles, passes, never), spec=ImageSpec(512, 3, 1000)
    ).stages
    assert time.perf_counter() - start < 30
    for found in stage.networks:
        assert found.parameters == 480_309_308
        assert found.gradient_bytes == 4 * found.parameters
        assert found.optimizer_bytes == pytest.approx(8 * found.parameters, rel=1e-4)
        assert 5e9 < found.activation_bytes < 20e9
    assert stage.flops_per_step == 3 * 4 * 2048 * stage.networks[0].forward_flops
