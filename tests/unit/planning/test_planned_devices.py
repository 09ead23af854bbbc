import pytest

from mplframe.errors import UserError
from mplframe.planning.devices import DEVICES, GIB, find_devices, parse_size


def test_days_by_hand() -> None:
    eight = find_devices("h100:8", utilisation=0.5)
    assert eight is not None
    day = 86_400 * 8 * 0.5
    assert eight.days(day * 989.5e12, "bf16") == pytest.approx(1)
    assert eight.days(day * 494.5e12, "fp32") == pytest.approx(1)  # convolutions take TF32
    assert eight.room == 72 * GIB


def test_a_device_without_bfloat16_has_no_days_in_it() -> None:
    volta = find_devices("V100-32")
    assert volta is not None
    assert volta.days(1e18, "bf16") is None
    assert volta.to_json("bf16")["peak_flops"] is None
    assert volta.to_json("fp32")["format"] == "fp32"


def test_own_numbers_win() -> None:
    found = find_devices("tpu-v3-core:16", memory="8GiB", flops=1e12)
    assert found is not None
    assert (found.count, found.device.memory, found.device.rate("fp32")) == (16, 8 * GIB, ("fp32", 1e12))
    assert "--memory and --flops as given" in found.device.source
    assert find_devices(None) is None
    assert find_devices(None, memory="1e9", flops=2.0) is not None


@pytest.mark.parametrize(
    ("text", "options", "says"),
    [
        ("h10", {}, "did you mean 'h100'"),
        ("h100:0", {}, "isn't a number of devices; write h100:8"),
        ("h100:", {}, "isn't a number of devices"),
        (None, {"memory": "24GiB"}, "needs both --memory and --flops"),
        ("l4", {"memory": "lots"}, "isn't a size"),
        ("l4", {"flops": -1.0}, "isn't a rate"),
        ("l4", {"utilisation": 40.0}, "above 0 and at most 1"),
    ],
)
def test_what_is_no_device_is_refused(text: str | None, options: dict, says: str) -> None:
    with pytest.raises(UserError, match=says):
        find_devices(text, **options)


def test_sizes() -> None:
    assert [parse_size(text) for text in ("24GiB", "40 GB", "17e9", "1.5m")] == [
        24 * GIB,
        40 * 10**9,
        17 * 10**9,
        1_500_000,
    ]


def test_every_device_says_where_its_numbers_are_from() -> None:
    assert all(device.source and device.rate("fp32") for device in DEVICES.values())
