import pytest

from mplframe.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    MplframeError,
    PluginError,
    RunError,
    UserError,
    nearest,
)


@pytest.mark.parametrize("error", [UserError, ConfigError, DataError, CheckpointError, PluginError])
def test_what_the_user_can_mend_exits_with_2_and_is_a_value_error(error: type[MplframeError]) -> None:
    assert error.exit_code == 2
    assert issubclass(error, ValueError)


def test_a_failed_run_exits_with_1_and_is_no_user_error() -> None:
    assert RunError.exit_code == 1
    assert not issubclass(RunError, UserError)


def test_nearest_spelling() -> None:
    assert nearest("cosin", ["dot", "cosine"]) == "; did you mean 'cosine'?"
    assert nearest("xyz", ["dot", "cosine"]) == ""
    assert nearest("dot", []) == ""
