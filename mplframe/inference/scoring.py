"""What a network says of many images, written down shard by shard."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from mplframe.contracts.backend import Backend
from mplframe.contracts.data import EvaluationBatch, Split
from mplframe.errors import DataError, UserError
from mplframe.inference.predict import predict
from mplframe.randomness import derive
from mplframe.selection.score_files import ScoreWriter
from mplframe.selection.scores import ScoreBatch, ScoreFormat, top_classes

Inputs = Callable[[Split, range], Iterator[EvaluationBatch]]
"""Samples of a split, by number, as networks take them in evaluation."""
Done = Callable[[int, int], None]
"""Told after each shard how many shards are done, and of how many."""


def digest(state: Mapping[str, Any]) -> str:
    """What identifies a network's weights: the same for equal tensors under equal names."""
    found = hashlib.sha256()
    for name, value in sorted(state.items()):
        if isinstance(value, Tensor):
            flat = value.detach().cpu().contiguous().reshape(-1)
            found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            found.update(flat.view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:32]


def score(
    network: nn.Module,
    split: Split,
    writer: ScoreWriter,
    *,
    inputs: Inputs,
    backend: Backend,
    noise: int | None = None,
    share: tuple[int, int] = (0, 1),
    done: Done | None = None,
) -> int:
    """Score every sample of a split, group by group; groups that `writer` holds already are left as they are.

    Damaged samples that may be left out get no scores.

    Args:
        network: a classifier on the backend's device.
        split: what is scored.
        writer: keeps the scores; its format says what of them.
        inputs: gives the samples of a range.
        backend: where the network runs.
        noise: seed of dropout and stochastic depth, which stay on; None turns them off.
        share: number of this process, and of all that score the split: each takes its own groups.
        done: told how far it is.

    Returns:
        How many groups this process has scored.

    Raises:
        UserError: the network has no last linear layer to take embeddings from, or samples have no tags to keep.
        DataError: two groups share a name; a sample can't be read.
    """
    names = list(split.group_names)
    if len(set(names)) < len(names):
        raise DataError(
            f"shard {next(n for n in names if names.count(n) > 1)} is named twice; its scores would collide"
        )
    ends = np.cumsum([0, *split.group_sizes]).tolist()
    ranges = {name: range(a, b) for name, (a, b) in zip(names, pairwise(ends), strict=True)}
    if writer.form.tags:
        check_tagged(split)
    mine = writer.pending(names[share[0] :: share[1]])
    with backend.alone(network):
        for count, name in enumerate(mine):
            with writer.shard(name) as scores:
                for batch in inputs(split, ranges[name]):
                    tags = split.tags(batch.numbers) if writer.form.tags else None
                    found = _scored(network, batch, writer.form, backend, first=ranges[name].start, noise=noise)
                    scores.add(replace(found, tags=tags))
            if done is not None:
                done(count + 1, len(mine))
    return len(mine)


def check_tagged(split: Split) -> None:
    """See that samples have tags.

    Raises:
        UserError: they have none.
    """
    if split.tags([]) is None:
        raise UserError(
            "tags are asked for, but the unlabeled samples have none; set data.tag_key to the key in each .json that "
            "they are under"
        )


def _scored(
    network: nn.Module, batch: EvaluationBatch, form: ScoreFormat, backend: Backend, *, first: int, noise: int | None
) -> ScoreBatch:
    quiet = nullcontext() if noise is None else backend.seeded(derive(noise, "label", batch.numbers[0]))
    with quiet, embedding(network, wanted=form.embedding is not None) as features:
        logits = predict(network, batch.images, backend, noisy=noise is not None)
    probabilities = logits.softmax(-1).cpu().numpy()
    classes, best = top_classes(probabilities, form.top_p)
    return ScoreBatch(
        batch.keys,
        np.asarray(batch.numbers, np.int64) - first,
        classes,
        best,
        distribution=probabilities if form.distribution else None,
        embedding=mean_embedding(features[0], len(batch.keys)) if features else None,
        label=batch.labels.numpy() if form.label else None,
    )


def embedding_size(network: nn.Module) -> int:
    """Dimensions of the embedding: what the last linear layer is given.

    Raises:
        UserError: there is no linear layer.
    """
    return _last_linear(network).in_features


def _last_linear(network: nn.Module) -> nn.Linear:
    layers = [module for module in network.modules() if isinstance(module, nn.Linear)]
    if not layers:
        raise UserError("this network has no linear layer, so it has no embedding to keep; leave embeddings out")
    return layers[-1]


def mean_embedding(features: Tensor, samples: int) -> npt.NDArray[np.float32]:
    """[samples, D] on the host, of what `embedding` collected: [samples, D], or [samples * clips, D] of videos."""
    found: npt.NDArray[np.float32] = features.float().reshape(samples, -1, features.shape[-1]).mean(1).cpu().numpy()
    return found


@contextmanager
def embedding(network: nn.Module, *, wanted: bool = True) -> Iterator[list[Tensor]]:
    """Collects what the last linear layer is given in the block, [N, D] for each forward.

    Raises:
        UserError: there is no linear layer.
    """
    found: list[Tensor] = []
    if not wanted:
        yield found
        return
    layer = _last_linear(network)
    hook = layer.register_forward_pre_hook(lambda _, given: found.append(given[0].detach().flatten(1)))
    try:
        yield found
    finally:
        hook.remove()
