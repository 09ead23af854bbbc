import pytest
import torch

from mplframe.randomness import gumbel


@pytest.mark.parametrize("world", [1, 2, 3])
def test_the_noise_of_a_row_does_not_depend_on_how_many_processes_share_the_batch(world: int) -> None:
    whole = gumbel((6, 4), 7, "labels", 0)
    shares = [gumbel((6 // world, 4), 7, "labels", 0, share=(rank, world)) for rank in range(world)]
    assert torch.equal(torch.cat(shares), whole)
