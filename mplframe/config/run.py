"""The configuration of a run, and of a sweep of runs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from mplframe.config.base import BaseConfig, ComponentConfig, Kind


class RangeConfig(BaseConfig):
    """The values that one setting may take: from `low` to `high`, or one of `choices`.

    Attributes:
        low: the least value.
        high: the greatest value, included.
        log: draw the logarithm evenly instead of the value; needs `low` above 0.
        step: distance between values; null for any, or for 1 where they are integers.
        choices: values of any kind, components with all their settings too.
    """

    low: int | float | None = None
    high: int | float | None = None
    log: bool = False
    step: int | float | None = Field(default=None, gt=0)
    choices: tuple[Any, ...] = ()

    @model_validator(mode="after")
    def _one_kind(self) -> RangeConfig:
        ends = (self.low, self.high)
        if self.choices:
            if ends != (None, None) or self.log or self.step is not None:
                raise ValueError("choices stand alone; leave low, high, log and step out")
            return self
        if self.low is None or self.high is None:
            raise ValueError("give low and high, or choices")
        if not self.low < self.high:
            raise ValueError(f"low must be below high, not {self.low} and {self.high}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("a logarithmic range needs low above 0 and takes no step")
        return self


class SweepConfig(BaseConfig):
    """A search for better settings by `mplframe sweep`; `mplframe run` ignores it.

    Attributes:
        trials: how many runs; MPL v4, C.4 allows each method 128. A grid ends earlier when all of it was tried.
        metric: of the network that the run is for, at the end of its last stage, as evaluators name it.
        direction: whether more or less of the metric is better.
        split: what trials are judged by: the labeled samples of `evaluation.holdout`, which no trial trains on. The
            test split chooses nothing, or it would tell nothing about new data any more.
        sampler: how values are chosen: `tpe` is Optuna's tree-structured Parzen estimator, which learns from the trials
            before; `random`; or every combination of a `grid`, where ranges need a step or choices.
        pruner: which trials are ended early by what they reach at an evaluation (`evaluation.every`): `median` those
            below the median of the trials before, `hyperband` all but a third in each round.
        seed: of the search; the runs' own seed is that of the config.
        ranges: the values that each setting may take, by its path, such as `method.losses.1.weight`.
    """

    trials: PositiveInt = 128
    metric: str = "top1"
    direction: Literal["maximize", "minimize"] = "maximize"
    split: Literal["holdout"] = "holdout"
    sampler: Literal["tpe", "random", "grid"] = "tpe"
    pruner: Literal["median", "hyperband", "none"] = "none"
    seed: NonNegativeInt = 0
    ranges: dict[str, RangeConfig] = Field(default_factory=dict)


Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class ClipConfig(BaseConfig):
    """What networks see of a video.

    Attributes:
        frames: of a clip; Billion-scale, table 7: 8 or 32.
        stride: frames of the video from one frame of a clip to the next. The paper doesn't say; 8 frames 4 apart are
            about a second.
        test_clips: in evaluation, evenly spaced clips whose probabilities are averaged; Billion-scale, 5.1: 10.
    """

    frames: PositiveInt = 8
    stride: PositiveInt = 4
    test_clips: PositiveInt = 10


class InputConfig(BaseConfig):
    """From decoded image or video to network input.

    Attributes:
        size: height and width of the network's input, in pixels.
        channels: 1 (grey) or 3 (RGB); images are converted.
        fit: how an image gets to `size` in training. `exact` demands that it already has it; `resize` scales the
            shorter side and crops the center; `random_crop` scales the shorter side as evaluation does and crops at a
            random place (Billion-scale, supplement 4.2: 112 of 128 pixels); `random_resized_crop` is the Inception
            crop. Evaluation uses `exact` where training does, else resize and center crop.
        clip: feed clips of videos instead of images; null for images. In training a clip lies anywhere in its video;
            all its frames are fitted and augmented alike.
        eval_crop: in evaluation the shorter side is scaled to `size / eval_crop` before the center crop.
        mean: per channel, in units of the [0, 1] pixel range; null for ImageNet's (RGB) or 0.5 (grey).
        std: likewise.
        weak: augmentations of the weak view, in order.
        strong: augmentations of the strong view, in order; they start from the fitted image, not from the weak view.
        workers: threads that read, decode and augment; 0 does it in the training thread.
        prefetch: finished batches that may wait.
        prefetch_mb: bound of their memory, in MiB; one batch may always wait.
        max_damaged: samples that can't be used (undecodable, without label, cut off, of a wrong class) to go on without
            before the run stops; 0 stops at the first. In training the next usable sample takes the place of each;
            evaluation leaves it out. Each is listed in `damaged.jsonl` in the run folder. Of several processes each
            counts what it reads itself.
    """

    size: PositiveInt
    channels: Literal[1, 3] = 3
    fit: Literal["exact", "resize", "random_crop", "random_resized_crop"] = "exact"
    clip: ClipConfig | None = None
    eval_crop: Annotated[float, Field(gt=0.0, le=1.0)] = 0.875
    mean: tuple[float, ...] | None = None
    std: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    weak: Annotated[tuple[ComponentConfig, ...], Kind("augmentation")] = ()
    strong: Annotated[tuple[ComponentConfig, ...], Kind("augmentation")] = ()
    workers: NonNegativeInt = 1
    prefetch: PositiveInt = 2
    prefetch_mb: PositiveInt = 1024
    max_damaged: NonNegativeInt = 0

    @model_validator(mode="after")
    def _one_value_a_channel(self) -> InputConfig:
        for name in ("mean", "std"):
            given = getattr(self, name)
            if given is not None and len(given) != self.channels:
                raise ValueError(f"{name} has {len(given)} values, but there are {self.channels} channels")
        return self

    @property
    def normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation, one value a channel."""
        default = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)) if self.channels == 3 else ((0.5,), (0.5,))
        return self.mean or default[0], self.std or default[1]


class EvaluationConfig(BaseConfig):
    """When, on what and how networks are judged.

    Attributes:
        every: steps between evaluations; 0 evaluates at the end of each stage only.
        split: what networks are judged on: the dataset's test split, or the labeled samples that are held out.
        holdout: labeled samples that are never trained on, to choose checkpoints and settings by: their number or a
            fraction, of each class alike, the same ones for every seed. Null: a tenth where `checkpoint.keep_best`
            chooses, else none.
        exclude_copies: train on no sample, labeled or not, whose content a held-out or a test sample has too. Reads
            those that are as long as one of them at the start; false where data are large and known to be apart.
        batch_size: images or clips per forward; the clips of one video always go together.
        weights: `ema` judges the averaged weights of the networks that keep an average; `raw` never does.
        evaluators: what is measured.
    """

    every: NonNegativeInt = 0
    split: Literal["test", "holdout"] = "test"
    holdout: PositiveInt | Annotated[float, Field(gt=0, lt=1)] | None = None
    exclude_copies: bool = True
    batch_size: PositiveInt = 256
    weights: Literal["ema", "raw"] = "ema"
    evaluators: Annotated[tuple[ComponentConfig, ...], Kind("evaluator")] = Field(
        default_factory=lambda: (ComponentConfig(name="classification"),)
    )

    @model_validator(mode="after")
    def _something_is_held_out(self) -> EvaluationConfig:
        if self.split == "holdout" and self.holdout is None:
            raise ValueError("split is holdout, but nothing is held out; set evaluation.holdout")
        return self


class CheckpointConfig(BaseConfig):
    """What is kept of a run.

    Attributes:
        every: steps between checkpoints; one is always written at the end of a stage.
        keep: how many of the newest are kept.
        background: train on while one is being written; its content is copied to the host first.
        keep_best: also keep the one with the best `metric` so far of the network that the run is for. It is chosen on
            the labeled samples that are held out (`evaluation.holdout`), never on the test split. Null: where each
            class has four labels or more, or `evaluation.holdout` is set.
        metric: the evaluation metric that `keep_best` compares; greater is better.
    """

    every: PositiveInt = 500
    keep: PositiveInt = 2
    background: bool = True
    keep_best: bool | None = None
    metric: str = "top1"


class RunConfig(BaseConfig):
    """One run: `mplframe run CONFIG` reads this from YAML.

    Attributes:
        seed: of everything random. The same seed, config and data give the same numbers.
        out: the run folder; `--out` wins over it. A config file without it gets `runs/` and the file's name.
        method: what is trained and how.
        baselines: methods trained before it on the same data, reported beside it.
        data: the dataset source.
        manifest: what of its unlabeled samples is trained on, how often, and what each is taken for: the path or URL of
            a manifest made by `mplframe select`, whose images are read where they lie. Null: all of them.
        input: from decoded image to network input.
        backend: where it runs.
        evaluation: when and how networks are judged.
        checkpoint: what is kept.
        trackers: where metrics go.
        log_every: steps between metric records; each record is the mean over these steps.
        sweep: what `mplframe sweep` searches; `mplframe run` ignores it.
    """

    seed: NonNegativeInt = 0
    out: str = "runs/run"
    method: Annotated[ComponentConfig, Kind("method")]
    baselines: Annotated[tuple[ComponentConfig, ...], Kind("method")] = ()
    data: Annotated[ComponentConfig, Kind("dataset")]
    manifest: str | None = None
    input: InputConfig
    backend: Annotated[ComponentConfig, Kind("backend")] = Field(default_factory=lambda: ComponentConfig(name="single"))
    evaluation: EvaluationConfig = EvaluationConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    trackers: Annotated[tuple[ComponentConfig, ...], Kind("tracker")] = Field(
        default_factory=lambda: tuple(ComponentConfig(name=n) for n in ("console", "jsonl", "tensorboard"))
    )
    log_every: PositiveInt = 50
    sweep: SweepConfig | None = None
