"""The linear start that all schedules share."""

from mplframe.errors import UserError


def warmup_factor(step: int, warmup: int) -> float:
    """`min(1, (step + 1) / warmup)`: step 0 already learns, and step `warmup - 1` is the first at the full rate."""
    return min(1.0, (step + 1) / warmup) if warmup else 1.0


def check_warmup(warmup: int, steps: int) -> None:
    """Whether there are steps left after warming up.

    Raises:
        UserError: there are none.
    """
    if warmup >= steps:
        raise UserError(
            f"warmup is {warmup} steps, but the stage has only {steps}; set warmup below {steps} or train for longer"
        )
