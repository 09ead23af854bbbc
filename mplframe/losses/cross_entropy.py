"""Cross entropy against classes or distributions, one value a sample."""

import torch
import torch.nn.functional as F
from torch import Tensor


def cross_entropy(logits: Tensor, target: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """`-sum_c q_c log p_c` for each sample, with q the target mixed with the uniform distribution.

    Args:
        logits: [N, C] of p.
        target: [N] int64 classes, or [N, C] probabilities.
        smoothing: share of the uniform distribution in q (label smoothing).

    Returns:
        [N] float32 or wider, in nats.
    """
    # Half precision logits would lose the small differences that feedback is made of.
    wide = logits if logits.dtype == torch.float64 else logits.float()
    return F.cross_entropy(wide, target, reduction="none", label_smoothing=smoothing)
