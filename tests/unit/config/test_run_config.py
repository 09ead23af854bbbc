from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from mplframe.config.load import dump, parse
from mplframe.config.resolve import resolve
from mplframe.config.run import RunConfig
from mplframe.errors import ConfigError
from mplframe.plugins import Components, discover

SUPERVISED: dict[str, Any] = {"name": "supervised", "steps": 3, "student": {"network": "small_cnn"}}
LEAST: dict[str, Any] = {"method": SUPERVISED, "data": "digits", "input": {"size": 8, "channels": 1}}


@pytest.fixture(scope="module")
def installed() -> Components:
    return discover()


def component(name: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A component with any of its settings; some by their name alone."""
    return st.just(name) | st.fixed_dictionaries({"name": st.just(name)}, optional=fields)


small = st.floats(0.001, 0.9)
count = st.integers(1, 1000)
feedbacks = st.recursive(
    component("dot") | component("off") | component("cosine", epsilon=small),
    lambda inner: component("baseline", inner=inner, decay=small),
    max_leaves=3,
)
optimizers = (
    component("sgd", lr=small, weight_decay=small) | component("rmsprop", eps=small) | component("lars", trust=small)
)
schedules = component("constant") | component("cosine", warmup=st.integers(0, 5))
networks = component("small_cnn", channels=count) | component("mlp", hidden=st.lists(count, max_size=2))
losses = (
    component("supervised", weight=small) | component("label_smoothing") | component("uda", ramp=count, threshold=small)
)
augmentations = component("flip") | component("cutout") | component("crop", padding=st.integers(0, 4))
training: dict[str, Any] = {
    "optimizer": optimizers,
    "schedule": schedules,
    "clip": st.none() | small,
    "ema": st.none() | small,
}
learner = st.fixed_dictionaries({"network": networks}, optional=training)
supervised = st.fixed_dictionaries({"name": st.just("supervised"), "steps": count, "student": learner})
teacher = st.fixed_dictionaries({"network": networks}, optional={**training, "losses": st.lists(losses, max_size=2)})
mpl = st.fixed_dictionaries(
    {"name": st.just("mpl"), "steps": count, "teacher": teacher, "student": learner},
    optional={"feedback": feedbacks, "finetune": st.none() | st.fixed_dictionaries({}, optional={"steps": count})},
)
configs = st.fixed_dictionaries(
    {
        "method": mpl | supervised,
        "data": st.just("digits"),
        "input": st.fixed_dictionaries(
            {"size": count, "channels": st.just(1)},
            optional={"weak": st.lists(augmentations, max_size=2), "eval_crop": small},
        ),
    },
    optional={
        "seed": st.integers(0, 2**40),
        "out": st.text(min_size=1, max_size=8) | st.sampled_from(["1e5", "off", "2024-01-31"]),
        "baselines": st.lists(supervised, max_size=1),
        "evaluation": st.fixed_dictionaries({}, optional={"every": count, "evaluators": st.just(["classification"])}),
        "trackers": st.lists(st.sampled_from(["console", "jsonl"]), max_size=2),
    },
)


# A failure shows the config as it was drawn: shrinking these trees takes minutes.
@settings(max_examples=40, deadline=None, derandomize=True, database=None, phases=[Phase.generate])
@given(raw=configs)
def test_a_resolved_config_survives_its_own_file(installed: Components, raw: dict[str, Any]) -> None:
    config = resolve(RunConfig, raw, installed.config)
    assert resolve(RunConfig, parse(dump(config.dump()), where="its own file"), installed.config) == config


def test_the_least_config_is_complete(installed: Components) -> None:
    config = resolve(RunConfig, LEAST, installed.config)
    held = [config.backend, *config.trackers, *config.evaluation.evaluators, config.method.student.optimizer]
    kinds = ["backend", "tracker", "tracker", "tracker", "evaluator", "optimizer"]
    for kind, item in zip(kinds, held, strict=True):
        assert type(item) is installed.config(kind, item.name)


@pytest.mark.parametrize("name", ["mean", "std"])
def test_there_is_one_value_a_channel(installed: Components, name: str) -> None:
    with pytest.raises(ConfigError, match=f"input: {name} has 3 values, but there are 1 channels"):
        resolve(RunConfig, {**LEAST, "input": {**LEAST["input"], name: [0.5, 0.5, 0.5]}}, installed.config)


def test_normalisation_defaults_to_imagenet_for_rgb(installed: Components) -> None:
    grey = resolve(RunConfig, LEAST, installed.config)
    rgb = resolve(RunConfig, {**LEAST, "input": {"size": 8, "std": [1.0, 2.0, 3.0]}}, installed.config)
    assert grey.input.normalisation == ((0.5,), (0.5,))
    assert rgb.input.normalisation == ((0.485, 0.456, 0.406), (1.0, 2.0, 3.0))


@pytest.mark.parametrize(
    ("sizes", "wrong"),
    [({"labeled": 6, "accumulate": 4}, "labeled = 6"), ({"unlabeled": 3, "accumulate": 2}, "unlabeled = 3")],
)
def test_batches_that_cannot_be_cut_are_refused(installed: Components, sizes: dict[str, int], wrong: str) -> None:
    uda = {"name": "uda", "steps": 3, "student": {"network": "small_cnn"}, "batch": sizes}
    with pytest.raises(ConfigError, match=f"method.batch: {wrong} can't be cut into accumulate"):
        resolve(RunConfig, {**LEAST, "method": uda}, installed.config)
