"""What ships with mplframe, by the same hooks that third parties use. Alphabetical; nothing is imported here."""

from mplframe.hooks import Components, hookimpl


@hookimpl
def mplframe_architecture() -> Components:
    return {
        "calibration_mlp": "mplframe.models.mlp:CalibrationMLP",
        "efficientnet_b0": "mplframe.models.efficientnet:EfficientNetB0",
        "efficientnet_b1": "mplframe.models.efficientnet:EfficientNetB1",
        "efficientnet_b2": "mplframe.models.efficientnet:EfficientNetB2",
        "efficientnet_b3": "mplframe.models.efficientnet:EfficientNetB3",
        "efficientnet_b4": "mplframe.models.efficientnet:EfficientNetB4",
        "efficientnet_b5": "mplframe.models.efficientnet:EfficientNetB5",
        "efficientnet_b6": "mplframe.models.efficientnet:EfficientNetB6",
        "efficientnet_b6_wide": "mplframe.models.efficientnet:EfficientNetB6Wide",
        "efficientnet_b7": "mplframe.models.efficientnet:EfficientNetB7",
        "efficientnet_l2": "mplframe.models.efficientnet:EfficientNetL2",
        "ensemble": "mplframe.models.ensemble:Ensemble",
        "mlp": "mplframe.models.mlp:MLP",
        "r2plus1d": "mplframe.models.r2plus1d:R2Plus1D",
        "r2plus1d_18": "mplframe.models.r2plus1d:R2Plus1D18",
        "r2plus1d_34": "mplframe.models.r2plus1d:R2Plus1D34",
        "resnet18": "mplframe.models.resnet:ResNet18",
        "resnet50": "mplframe.models.resnet:ResNet50",
        "resnext101_32x16d": "mplframe.models.resnet:ResNeXt101W16",
        "resnext101_32x48d": "mplframe.models.resnet:ResNeXt101W48",
        "resnext101_32x4d": "mplframe.models.resnet:ResNeXt101W4",
        "resnext101_32x8d": "mplframe.models.resnet:ResNeXt101W8",
        "resnext50_32x4d": "mplframe.models.resnet:ResNeXt50",
        "small_cnn": "mplframe.models.small_cnn:SmallCNN",
        "timm": "mplframe.models.timm_model:TimmModel",
        "trained": "mplframe.builders.from_run:FromRun",
        "wide_resnet": "mplframe.models.wide_resnet:WideResNet",
    }


@hookimpl
def mplframe_augmentation() -> Components:
    return {
        "autoaugment": "mplframe.augmentation.autoaugment:AutoAugment",
        "crop": "mplframe.augmentation.basic:Crop",
        "cutout": "mplframe.augmentation.basic:Cutout",
        "flip": "mplframe.augmentation.basic:Flip",
        "noise": "mplframe.augmentation.basic:Noise",
        "randaugment": "mplframe.augmentation.randaugment:RandAugment",
    }


@hookimpl
def mplframe_backend() -> Components:
    return {
        "ddp": "mplframe.backends.ddp:DataParallel",
        "fsdp": "mplframe.backends.fsdp:FullyShardedDataParallel",
        "single": "mplframe.backends.single:Single",
        "xla_spmd": "mplframe.backends.xla.backend:XlaSpmd",
    }


@hookimpl
def mplframe_dataset() -> Components:
    return {
        "digits": "mplframe.data.sources.small:Digits",
        "fashion_mnist": "mplframe.data.sources.small:FashionMNIST",
        "moving_digits": "mplframe.data.sources.small:MovingDigits",
        "pipeline": "mplframe.data.sources.pipeline:Pipeline",
        "two_moons": "mplframe.data.sources.two_moons:TwoMoons",
        "webdataset": "mplframe.data.shards.source:WebDataset",
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
        "adam": "mplframe.optim.adam:AdamLookahead",
        "lars": "mplframe.optim.lars:LARSLookahead",
        "measured": "mplframe.optim.lookahead:MeasuredLookahead",
        "nesterov": "mplframe.optim.sgd:NesterovLookahead",
        "rmsprop": "mplframe.optim.rmsprop:RMSPropLookahead",
        "sgd": "mplframe.optim.sgd:SGDLookahead",
    }


@hookimpl
def mplframe_loss() -> Components:
    return {
        "annealed": "mplframe.losses.annealed:Annealed",
        "assigned": "mplframe.losses.assigned:Assigned",
        "fixmatch": "mplframe.losses.fixmatch:FixMatch",
        "label_smoothing": "mplframe.losses.supervised:LabelSmoothing",
        "mean_teacher": "mplframe.losses.mean_teacher:MeanTeacher",
        "mixup": "mplframe.losses.mixup:Mixup",
        "supervised": "mplframe.losses.supervised:Supervised",
        "uda": "mplframe.losses.uda:UDA",
    }


@hookimpl
def mplframe_method() -> Components:
    return {
        "billion_scale": "mplframe.methods.billion_scale:BillionScale",
        "mpl": "mplframe.methods.mpl:MetaPseudoLabels",
        "noisy_student": "mplframe.methods.noisy_student:NoisyStudent",
        "pseudo_label": "mplframe.methods.pseudo_label:PseudoLabeling",
        "reduced_mpl": "mplframe.methods.reduced_mpl:ReducedMPL",
        "supervised": "mplframe.methods.supervised:SupervisedLearning",
        "uda": "mplframe.methods.supervised:UnsupervisedDataAugmentation",
    }


@hookimpl
def mplframe_optimizer() -> Components:
    return {
        "adam": "mplframe.optim.adam:Adam",
        "adamw": "mplframe.optim.adam:AdamW",
        "lars": "mplframe.optim.lars:LARS",
        "rmsprop": "mplframe.optim.rmsprop:RMSProp",
        "sgd": "mplframe.optim.sgd:SGD",
    }


@hookimpl
def mplframe_schedule() -> Components:
    return {
        "constant": "mplframe.optim.schedules:Constant",
        "cosine": "mplframe.optim.schedules:Cosine",
        "equal_steps": "mplframe.optim.schedules:EqualSteps",
        "exponential": "mplframe.optim.schedules:Exponential",
        "milestones": "mplframe.optim.schedules:Milestones",
    }


@hookimpl
def mplframe_tracker() -> Components:
    return {
        "console": "mplframe.tracking.console:Console",
        "jsonl": "mplframe.tracking.jsonl:JsonLines",
        "tensorboard": "mplframe.tracking.tensorboard:TensorBoard",
    }
