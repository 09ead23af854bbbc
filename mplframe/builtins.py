"""What ships with mplframe, by the same hooks that third parties use. Alphabetical; nothing is imported here."""

from mplframe.hooks import Components, hookimpl


@hookimpl
def mplframe_architecture() -> Components:
    return {
        "mlp": "mplframe.models.mlp:MLP",
        "small_cnn": "mplframe.models.small_cnn:SmallCNN",
        "timm": "mplframe.models.timm_model:TimmModel",
        "wide_resnet": "mplframe.models.wide_resnet:WideResNet",
    }


@hookimpl
def mplframe_augmentation() -> Components:
    return {
        "crop": "mplframe.augmentation.crop:Crop",
        "cutout": "mplframe.augmentation.cutout:Cutout",
        "flip": "mplframe.augmentation.flip:Flip",
        "noise": "mplframe.augmentation.noise:Noise",
        "randaugment": "mplframe.augmentation.randaugment:RandAugment",
    }


@hookimpl
def mplframe_backend() -> Components:
    return {"single": "mplframe.backends.single:Single"}


@hookimpl
def mplframe_dataset() -> Components:
    return {
        "digits": "mplframe.data.embedded:Digits",
        "fashion_mnist": "mplframe.data.embedded:FashionMNIST",
        "two_moons": "mplframe.data.two_moons:TwoMoons",
        "webdataset": "mplframe.data.shards:WebDataset",
    }


@hookimpl
def mplframe_evaluator() -> Components:
    return {"classification": "mplframe.evaluation.classification:Classification"}


@hookimpl
def mplframe_feedback() -> Components:
    return {
        "baseline": "mplframe.feedback.baseline:Baseline",
        "cosine": "mplframe.feedback.cosine:Cosine",
        "dot": "mplframe.feedback.dot:Dot",
        "exact": "mplframe.feedback.exact:Exact",
        "off": "mplframe.feedback.off:Off",
        "per_example": "mplframe.feedback.per_example:PerExample",
        "taylor": "mplframe.feedback.taylor:Taylor",
    }


@hookimpl
def mplframe_lookahead() -> Components:
    return {
        "adam": "mplframe.lookahead.adam:Adam",
        "lars": "mplframe.lookahead.lars:LARS",
        "measured": "mplframe.lookahead.measured:Measured",
        "nesterov": "mplframe.lookahead.nesterov:Nesterov",
        "rmsprop": "mplframe.lookahead.rmsprop:RMSProp",
        "sgd": "mplframe.lookahead.sgd:SGD",
    }


@hookimpl
def mplframe_loss() -> Components:
    return {
        "label_smoothing": "mplframe.losses.label_smoothing:LabelSmoothing",
        "supervised": "mplframe.losses.supervised:Supervised",
        "uda": "mplframe.losses.uda:UDA",
    }


@hookimpl
def mplframe_method() -> Components:
    return {
        "mpl": "mplframe.methods.mpl:MetaPseudoLabels",
        "pseudo_label": "mplframe.methods.pseudo_label:PseudoLabeling",
        "supervised": "mplframe.methods.supervised:SupervisedLearning",
        "uda": "mplframe.methods.uda:UnsupervisedDataAugmentation",
    }


@hookimpl
def mplframe_optimizer() -> Components:
    return {
        "adam": "mplframe.optimizers.adam:Adam",
        "adamw": "mplframe.optimizers.adamw:AdamW",
        "lars": "mplframe.optimizers.lars:LARS",
        "rmsprop": "mplframe.optimizers.rmsprop:RMSProp",
        "sgd": "mplframe.optimizers.sgd:SGD",
    }


@hookimpl
def mplframe_schedule() -> Components:
    return {
        "constant": "mplframe.schedules.constant:Constant",
        "cosine": "mplframe.schedules.cosine:Cosine",
        "exponential": "mplframe.schedules.exponential:Exponential",
    }


@hookimpl
def mplframe_tracker() -> Components:
    return {
        "console": "mplframe.tracking.console:Console",
        "jsonl": "mplframe.tracking.jsonl:JsonLines",
        "tensorboard": "mplframe.tracking.tensorboard:TensorBoard",
    }
