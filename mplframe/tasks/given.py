"""A network that has learned before: judged, and left for the stages after it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mplframe.contracts.method import PlannedNetwork, TaskContext, TaskPlan


def given_plan(name: str, network: PlannedNetwork) -> TaskPlan:
    """The task in the place of a stage that would train the network.

    Args:
        name: of the stage.
        network: `given`, under the role that later stages know it by.
    """

    def run(context: TaskContext) -> Mapping[str, Any]:
        built = context.network(network.architecture, network.role, size=network.size)
        context.keep(network.role, built.state_dict())
        return {"networks": context.judge({network.role: built}, network.size)}

    return TaskPlan(name, (network,), run)
