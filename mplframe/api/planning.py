"""What a run would cost, and what it takes on given devices."""

from __future__ import annotations

from mplframe.api.configs import components
from mplframe.builders import Maker
from mplframe.builders.planner import Planner
from mplframe.config.run import RunConfig
from mplframe.engine.cost import PlanCost
from mplframe.engine.devices import Devices
from mplframe.plugins import Components


def plan(
    config: RunConfig,
    *,
    devices: Devices | None = None,
    rehearse: bool = True,
    installed: Components | None = None,
) -> PlanCost:
    """What a run would cost, computed on the meta device: no data are touched and no memory is taken.

    Args:
        config: of the run.
        devices: that it would run on, from `mplframe.engine.devices.find_devices`; None plans no time and no fit.
        rehearse: run a step of each stage without values to know its memory, which takes seconds; else it is an upper
            estimate.
        installed: what names may refer to.

    Raises:
        UserError: the config can't be carried out.
    """
    return Planner(config, Maker(installed or components()), devices, rehearse).plan()
