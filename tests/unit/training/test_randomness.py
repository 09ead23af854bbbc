import math
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from mplframe.randomness import derive, gumbel, seeded
from mplframe.training.labeling import Labeling, agreement, entropy, sample

keys = st.lists(st.integers(0, 99) | st.text(alphabet="ab/1", max_size=3), min_size=1, max_size=4).map(tuple)


def draw(*key: int | str) -> torch.Tensor:
    with seeded(*key):
        return torch.rand(4)


def test_the_same_key_gives_the_same_numbers() -> None:
    assert torch.equal(draw(1, "dropout", 3), draw(1, "dropout", 3))
    assert torch.equal(gumbel((3, 2), 1, "labels"), gumbel((3, 2), 1, "labels"))


def test_other_keys_give_other_numbers() -> None:
    drawn = {tuple(draw(seed, use, step).tolist()) for seed in (0, 1) for use in ("a", "b") for step in range(5)}
    assert len(drawn) == 20


def test_the_generators_outside_are_where_they_were() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    draw(1)
    gumbel((5,), 1)
    assert torch.equal(torch.rand(3), expected)


def test_they_are_where_they_were_after_an_error_too() -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError), seeded(1):
        torch.rand(2) @ torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(keys, keys)
def test_a_seed_is_of_its_key_alone(a: tuple[int | str, ...], b: tuple[int | str, ...]) -> None:
    assert 0 <= derive(*a) < 2**63
    assert (derive(*a) == derive(*b)) == ([str(part) for part in a] == [str(part) for part in b])


def test_a_seed_does_not_mistake_one_key_for_another() -> None:
    assert derive("a/b", "c") != derive("a", "b/c")


def test_a_seed_is_the_same_in_every_process_and_release() -> None:
    """Python's own `hash` of a string isn't. Importing torch anew takes the time."""
    code = "from mplframe.randomness import derive; print(derive(3, 'labels', 5))"
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "7"}
    )
    assert int(other.stdout) == derive(3, "labels", 5)


def test_gumbel_noise_has_its_distribution() -> None:
    noise = gumbel((200_000,), 0).double()
    assert noise.isfinite().all()
    assert noise.mean().item() == pytest.approx(0.5772156649, abs=0.01)
    assert noise.var().item() == pytest.approx(math.pi**2 / 6, rel=0.02)


def test_labels_are_drawn_from_the_softmax() -> None:
    logits = torch.tensor([1.0, -0.5, 0.3, -3.0])
    count = 40_000
    labels = sample(logits.expand(count, 4), gumbel((count, 4), 5))
    observed = torch.bincount(labels, minlength=4).tolist()
    assert chisquare(observed, (count * logits.double().softmax(-1)).tolist()).pvalue > 0.01


def test_labels_are_drawn_or_the_most_likely() -> None:
    logits = torch.tensor([[2.0, 1.0], [0.0, 3.0]])
    noise = torch.tensor([[0.0, 5.0], [9.0, 0.0]])
    assert Labeling("sampled").labels(logits, noise).tolist() == [1, 0]
    assert Labeling("argmax").labels(logits, noise).tolist() == [0, 1]


def test_agreement_counts_known_truth_only() -> None:
    labels = torch.tensor([0, 1, 2, 2])
    assert agreement(labels, None) == {}
    found = agreement(labels, torch.tensor([0, 2, -1, 2]))
    assert {name: float(value) for name, value in found.items()} == {"label_agreement": 0.5, "label_agreement_of": 0.75}
    nothing = agreement(labels, torch.full((4,), -1))
    assert [float(value) for value in nothing.values()] == [0.0, 0.0]


def test_entropy_in_nats() -> None:
    distributions = torch.tensor([[0.25, 0.25, 0.25, 0.25], [1.0, 0.0, 0.0, 0.0]])
    assert entropy(distributions).item() == pytest.approx(math.log(4) / 2)
