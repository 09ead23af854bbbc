"""Meta Pseudo Labels in a program of your own: your modules, your loaders, your loop. Run: python examples/embed.py"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

import mplframe as mpl

STEPS = 400
torch.manual_seed(0)
digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16  # [1797, 1, 8, 8], used as they are
labels = torch.tensor(digits.target)
labeled, unlabeled, test = torch.randperm(len(labels)).split([100, 1297, 400])


def learner() -> mpl.Learner:
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Linear(256, 10))
    return mpl.Learner(module, torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9, nesterov=True))


def loader(data: TensorDataset, size: int) -> DataLoader:
    return DataLoader(data, size, sampler=RandomSampler(data, replacement=True, num_samples=size * STEPS))


teacher = mpl.NetworkTeacher(learner(), [mpl.LabelSmoothing(), mpl.UDA()])
student = mpl.NetworkStudent(learner(), label_smoothing=0.1)
stage = mpl.MPLStage(teacher, student, mpl.Baseline(inner=mpl.Cosine()))
known, unknown = TensorDataset(images[labeled], labels[labeled]), TensorDataset(images[unlabeled])
for step, ((x, y), (u,)) in enumerate(zip(loader(known, 32), loader(unknown, 128), strict=True)):
    noisy = u + 0.2 * torch.randn_like(u)
    stage.step([mpl.Batch(mpl.Samples(x, labels=y), mpl.Samples(u, strong=noisy))], step)

for role, network in stage.networks("raw").items():
    accuracy = (network.eval()(images[test]).argmax(1) == labels[test]).float().mean().item()
    print(f"{role} {accuracy:.3f}")
