"""What the tests of the suites' teeth share: each component there keeps all promises but one."""

from collections.abc import Callable
from typing import Literal

import pytest

from mplframe.config.base import ComponentConfig


class Config(ComponentConfig):
    """Of every broken component."""

    name: Literal["broken"] = "broken"


def rejects(check: Callable[[], None], promise: str) -> None:
    """The suite fails, and says which promise is broken."""
    with pytest.raises(AssertionError, match=promise):
        check()
