from collections.abc import Iterator

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from mplframe.backends.single import Single, inner
from mplframe.contracts.batch import Batch, Samples
from mplframe.errors import UserError


def cpu(**settings: object) -> Single:
    return Single(Single.Config(device="cpu", **settings))  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_inner_product_is_over_all_tensors(dtype: torch.dtype) -> None:
    random = torch.Generator().manual_seed(0)
    a, b = ([torch.randn(shape, generator=random).to(dtype) for shape in ((3, 4), (5,), ())] for _ in range(2))
    flat = [np.concatenate([t.double().numpy().reshape(-1) for t in tensors]) for tensors in (a, b)]
    found = inner(tuple(a), tuple(b))
    assert found.ndim == 0
    assert found.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert found.item() == pytest.approx(flat[0] @ flat[1], rel=1e-6)


def test_the_inner_product_takes_any_layout() -> None:
    a = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    assert inner((a,), (a.contiguous(),)).item() == pytest.approx(a.square().sum().item(), rel=1e-5)


def test_tensors_that_do_not_pair_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        inner((torch.ones(1), torch.ones(1)), (torch.ones(1),))


def test_scalars_are_fetched_in_order_whatever_their_dtype() -> None:
    scalars = [torch.tensor(1.5), torch.tensor(2), torch.tensor(0.1, dtype=torch.float64), torch.tensor(float("nan"))]
    *known, unknown = cpu().fetch(scalars)
    assert known == [1.5, 2.0, 0.1]
    assert np.isnan(unknown)
    assert cpu().fetch([]) == []


def test_one_process_has_nothing_to_reduce() -> None:
    gradients = (torch.ones(2), torch.zeros(3))
    assert cpu().reduce(gradients) == gradients
    assert (cpu().rank, cpu().world) == (0, 1)


def test_placing_keeps_every_value() -> None:
    samples = Samples(torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4), torch.tensor([1, 2]))
    for channels_last in (False, True):
        placed = cpu(channels_last=channels_last).place(Batch(samples, samples))
        assert placed.unlabeled is not None
        assert torch.equal(placed.labeled.weak, samples.weak)
        assert placed.labeled.weak.is_contiguous(memory_format=torch.channels_last) == channels_last
        assert placed.unlabeled.labels is not None
        assert placed.unlabeled.labels.tolist() == [1, 2]


def test_preparing_changes_no_name_and_no_output() -> None:
    network, images = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2)), torch.randn(2, 3, 4, 4)
    expected, names = network(images), list(network.state_dict())
    prepared = cpu(channels_last=True).prepare(network)
    torch.testing.assert_close(prepared(images), expected)
    assert list(prepared.state_dict()) == names


def test_precision_is_that_of_forwards() -> None:
    linear, images = nn.Linear(4, 2), torch.randn(3, 4)
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        with cpu(precision=precision).autocast():
            assert linear(images).dtype == dtype
    assert linear.weight.dtype == torch.float32


@pytest.mark.parametrize("device", ["banana", "cuda:", "cuda:99", "cuda:x", "", "meta", "mps"])
def test_devices_that_are_not_here_are_refused(device: str) -> None:
    with pytest.raises(UserError, match=r"backend\.device"):
        Single(Single.Config(device=device))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused_and_auto_does_without() -> None:
    with pytest.raises(UserError, match=r"sees 0 CUDA devices; set backend\.device=auto or cpu"):
        Single(Single.Config(device="cuda"))
    assert Single().device == torch.device("cpu")


@pytest.mark.parametrize("threads", [0, -1])
def test_a_number_of_threads_without_sense_is_refused(threads: int) -> None:
    with pytest.raises(ValidationError):
        Single.Config(threads=threads)


@pytest.fixture
def torch_settings() -> Iterator[None]:
    """Puts torch's global settings back."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


@pytest.mark.usefixtures("torch_settings")
def test_threads_and_determinism_are_handed_to_torch() -> None:
    cpu(threads=1, deterministic=True)
    assert torch.get_num_threads() == 1
    assert torch.are_deterministic_algorithms_enabled()


def test_it_says_what_it_runs_on() -> None:
    described = cpu(precision="bf16").describe()
    assert described["device"] == "cpu"
    assert described["precision"] == "bf16"
