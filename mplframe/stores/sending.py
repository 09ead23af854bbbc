"""What goes wrong when a store is written to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mplframe.errors import MplframeError, UserError
from mplframe.stores.retrying import FINAL


@contextmanager
def uploading(url: str) -> Iterator[None]:
    """Turns whatever a storage driver raises while it writes into one line about the URL.

    Raises:
        UserError: in place of the driver's error.
    """
    try:
        yield
    except MplframeError:
        raise
    except Exception as error:  # a driver may raise anything
        raise refused(url, error) from error


def refused(url: str, error: BaseException) -> UserError:
    """What a driver's error while it writes means for the user."""
    said = str(error) or type(error).__name__
    if isinstance(error, FINAL):
        return UserError(f"{url}: can't be written: {said}; check the URL and the credentials")
    return UserError(
        f"{url}: can't be written: {said}; run the same command again, which goes on with what it had finished, or "
        "check the network"
    )
