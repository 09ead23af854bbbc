"""What the entry point leads to: names of components and where they are. Imports none of them, and no torch."""

from collections.abc import Mapping

from mplframe import hookimpl


@hookimpl
def mplframe_architecture() -> Mapping[str, str]:
    return {"conv_mixer": "mplframe_example.conv_mixer:ConvMixer"}


@hookimpl
def mplframe_backend() -> Mapping[str, str]:
    return {"double": "mplframe_example.double:Double"}


@hookimpl
def mplframe_dataset() -> Mapping[str, str]:
    return {"digits_parity": "mplframe_example.digits_parity:DigitsParity"}


@hookimpl
def mplframe_feedback() -> Mapping[str, str]:
    return {"sign": "mplframe_example.sign:Sign"}


@hookimpl
def mplframe_loss() -> Mapping[str, str]:
    return {"entropy_minimisation": "mplframe_example.entropy_minimisation:EntropyMinimisation"}
