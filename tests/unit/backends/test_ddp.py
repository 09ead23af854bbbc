"""Data parallel in one process; `tests/distributed` starts several."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor

from mplframe.backends.batch_norm import BatchNormOfAll
from mplframe.backends.ddp import DataParallel
from mplframe.backends.processes import NEEDED, buckets, check_alone, together
from mplframe.builders.feed import check_shares
from mplframe.contracts.method import StagePlan, Streams
from mplframe.engine.loop import RunStage
from mplframe.errors import RunError, UserError
from mplframe.testing.backend import check_backend


def ddp(**settings: object) -> DataParallel:
    return DataParallel(DataParallel.Config(**{"device": "cpu", **settings}))  # type: ignore[arg-type]


@pytest.mark.usefixtures("alone")
def test_it_keeps_the_contract() -> None:
    check_backend(ddp)


@pytest.mark.usefixtures("alone")
def test_it_says_what_it_runs_on() -> None:
    backend = ddp(precision="bf16")
    assert backend.describe()["communication"] == "gloo"
    assert backend.describe()["precision"] == "bf16"
    with backend.autocast():
        assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == torch.bfloat16


def test_without_torchrun_it_says_how_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NEEDED:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match=r"torchrun --nproc-per-node N -m mplframe run .*--set backend=single"):
        ddp()


@pytest.mark.usefixtures("alone")
def test_processes_that_would_all_do_the_same_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check_alone()
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match=r"backend\.name=single is one process, .* started 2: .*--set backend=ddp"):
        check_alone()
    monkeypatch.delenv("RANK")
    check_alone()


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("device", ["cuda:0", "mps", ""])
def test_processes_take_devices_of_their_own(device: str) -> None:
    with pytest.raises(UserError, match=r"backend\.device: .* give auto, cpu or cuda"):
        ddp(device=device)


@pytest.mark.usefixtures("alone")
def test_a_process_without_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "99")
    with pytest.raises(UserError, match="process 99 of this machine has no GPU"):
        ddp(device="cuda")


@pytest.mark.parametrize("settings", [{"timeout": 0}, {"bucket_mb": 0}, {"port": 1}])
def test_settings_without_sense_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        DataParallel.Config(**settings)  # type: ignore[arg-type]


def test_buckets_keep_the_order_and_hold_one_dtype() -> None:
    shapes = [(3, torch.float32), (2, torch.float32), (0, torch.float64), (9, torch.float32), (0, torch.float32)]
    tensors = [torch.empty(size, dtype=dtype) for size, dtype in shapes]
    filled = buckets(tensors, most=20)
    assert [[len(tensor) for tensor in bucket] for bucket in filled] == [[3, 2], [0], [9], [0]]
    assert [tensor for bucket in filled for tensor in bucket] == tensors
    assert buckets([], most=20) == []


def test_only_a_lost_connection_is_taken_for_one() -> None:
    with pytest.raises(RunError, match="has lost the others"), together():
        raise RuntimeError("[gloo/transport/tcp/pair.cc:561] Connection closed by peer [127.0.0.1]:32148")
    with pytest.raises(RuntimeError, match="mat1 and mat2"), together():
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


def test_running_statistics_are_the_mean_of_those_of_all_processes() -> None:
    """Two processes on one side: what the other one would send is made here."""
    mine, other = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(0)).unbind()
    statistics = [torch.zeros(3), torch.ones(3)]
    theirs = [tensor.clone() for tensor in statistics]
    expected = F.batch_norm(mine, None, None, training=True)
    F.batch_norm(other, theirs[0], theirs[1], training=True)

    def mean(own: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple((a + b) / 2 for a, b in zip(own, theirs, strict=True))

    with BatchNormOfAll(mean, normalise=False):
        found = F.batch_norm(mine, statistics[0], statistics[1], training=True)
        still = F.batch_norm(mine, statistics[0], statistics[1])
    assert torch.equal(found, expected)
    assert torch.equal(still, F.batch_norm(mine, torch.zeros(3), torch.ones(3)))
    torch.testing.assert_close(statistics[0], 0.1 * (mine.mean(0) + other.mean(0)) / 2)
    torch.testing.assert_close(statistics[1], 0.9 + 0.1 * (mine.var(0) + other.var(0)) / 2)


def test_every_process_has_a_share_of_every_micro_batch() -> None:
    def stage(labeled: int, unlabeled: int, accumulate: int) -> RunStage:
        streams = Streams(labeled, unlabeled, accumulate=accumulate)
        plan = StagePlan("mpl", 1, streams, (), (), lambda context: None)  # type: ignore[arg-type, return-value]
        return RunStage("mpl", plan, None, main=True)  # type: ignore[arg-type]

    check_shares([stage(12, 24, 2), stage(6, 0, 1)], world=3)
    with pytest.raises(UserError, match=r"2 processes can't share 12 labeled .* in 4 micro-batches equally; set"):
        check_shares([stage(12, 24, 4)], world=2)
    with pytest.raises(UserError, match="stage mpl: 5 processes can't share 24 unlabeled samples a step equally"):
        check_shares([stage(10, 24, 1)], world=5)


def test_labeled_samples_that_nothing_looks_at_are_one_for_each_process_and_micro_batch() -> None:
    unseen, seen = (Streams(2, 16, views=frozenset(views), accumulate=2) for views in (("weak",), ("labeled_strong",)))
    assert unseen.shared_by(1) == unseen
    assert unseen.shared_by(3).labeled == 6
    assert unseen.shared_by(3).unlabeled == 16
    assert seen.shared_by(3) == seen
