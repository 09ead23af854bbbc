"""One step of supervised learning on the mesh 1 x N; prints what the first device holds, as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable

import torch
from torch import Tensor
from torch_xla.distributed.spmd import XLAShardedTensor

from mplframe.backends.xla.backend import XlaSpmd
from mplframe.contracts.architecture import ImageSpec
from mplframe.losses.supervised import Supervised
from mplframe.methods.classifier import ClassifierStage
from mplframe.models.small_cnn import SmallCNN
from mplframe.testing.problem import random_batch
from mplframe.training.learner import Learner
from mplframe.training.objective import Objective

SPEC = ImageSpec(size=256, channels=3, classes=16)
SAMPLES = 4


def held(tensors: Iterable[Tensor]) -> int:
    """Bytes on the first device."""
    shards = (XLAShardedTensor(tensor.detach()).local_shards for tensor in tensors)
    return sum(shard[0].data.nbytes for shard in shards)


def main(model: int) -> None:
    backend = XlaSpmd(XlaSpmd.Config(data=1, model=model))
    torch.manual_seed(0)
    module = backend.prepare(SmallCNN(SmallCNN.Config(channels=16, convolutions=2)).build(SPEC))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9)
    stage = ClassifierStage("student", Learner(module, optimizer, backend=backend), Objective.of([Supervised()]))
    batch = random_batch(SPEC, labeled=SAMPLES)
    images = batch.labeled.weak
    # Floats, so that no normalisation is needed.
    loss = stage.step([backend.place(batch.map(lambda t: t / 255.0 if t is images else t))], 0)["student/loss"]
    backend.mark_step()
    (value,) = backend.fetch([loss])
    parameters = list(module.parameters())
    momenta = [optimizer.state[parameter]["momentum_buffer"] for parameter in parameters]
    every = [*parameters, *momenta]
    print(json.dumps({"held": held(every), "all": sum(tensor.nbytes for tensor in every), "loss": value}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
