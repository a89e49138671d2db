"""How close a GGUF's predictions are to the trained model's, and how close they have to be.

Per position the Kullback-Leibler divergence KLD = sum p (ln p - ln q), p the trained model's
prediction and q the file's, and whether both prefer the same next token. Rounding moves these
figures a little, by an amount known per build type; a structural fault (rows in the wrong order,
missing rope factors, a wrong norm) moves them by orders of magnitude more.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

# Two tokens whose log-probabilities are nearer than this count as equally preferred: the sums
# of two engines differ in the last bits, and a tie may fall either way.
_TIE = 1e-4
_ROWS = 64


@dataclass(frozen=True)
class Limit:
    """What a build must reach: ``top1`` at least, mean KLD (nats) at most."""

    top1: float
    kld: float


# For F32, F16 and BF16 the limits are what a right conversion reaches with room to spare
# (measured: 1e-8, 1e-5, 2e-4 and less), and no wrong one does. For quantized builds: about 15 to
# 20 times the mean KLD published for Llama-3-8B on WikiText-2 (Q8_0 .0014, Q6_K .0055, Q4_K_M
# .031, Q2_K .445; Q5 and Q3 lie between), because small models lose several times more than
# large ones; never above 2.0. A file with unpermuted rows or without its rope factors is at 1 to
# 9 nats. The share of equal top tokens depends on how sure the model is, so it only has to
# clear the same figures with the distance to 1 taken three times.
LIMITS = {
    "F32": Limit(1.0, 1e-5),
    "F16": Limit(0.99, 1e-4),
    "BF16": Limit(0.97, 1e-3),
    "Q8_0": Limit(0.93, 0.02),
    "Q6_K": Limit(0.88, 0.08),
    "Q5_K": Limit(0.82, 0.2),
    "Q4_K": Limit(0.75, 0.5),
    "Q3_K": Limit(0.5, 1.0),
    "Q2_K": Limit(0.3, 2.0),
}


def limit_of(build_type: str) -> Limit | None:
    """The limit for a build type such as "Q4_K_M"; None for a type not made by edgetune."""
    stem = build_type
    for ending in ("_S", "_M", "_L"):
        stem = stem.removesuffix(ending)
    return LIMITS.get(stem)


@dataclass(frozen=True)
class Closeness:
    """Figures over all positions compared; KLD in nats."""

    positions: int
    top1: float
    kld_mean: float
    kld_p999: float
    finite: bool


def compare(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> Closeness:
    """Compare pairs of (trained log-probabilities, the file's logits), each (positions,
    vocabulary) float32. Arrays mapped from files are read a few rows at a time."""
    divergences: list[np.ndarray] = []
    agreements: list[np.ndarray] = []
    finite = True
    for log_probs, logits in pairs:
        for begin in range(0, len(log_probs), _ROWS):
            p = np.asarray(log_probs[begin : begin + _ROWS], dtype=np.float64)
            q = np.asarray(logits[begin : begin + _ROWS], dtype=np.float64)
            if not np.isfinite(q).all():
                finite = False
                continue
            p = _log_softmax(p)
            q = _log_softmax(q)
            # A probability of zero has the log-probability -inf and contributes nothing.
            terms = np.where(p > -np.inf, np.exp(p) * (p - q), 0.0)
            divergences.append(np.maximum(terms.sum(axis=1), 0.0))
            preferred = np.take_along_axis(p, q.argmax(axis=1)[:, None], axis=1)[:, 0]
            agreements.append(preferred >= p.max(axis=1) - _TIE)
    if not divergences:
        return Closeness(0, 0.0, float("inf"), float("inf"), finite)
    kld = np.concatenate(divergences)
    top1 = np.concatenate(agreements)
    return Closeness(
        positions=len(kld),
        top1=float(top1.mean()),
        kld_mean=float(kld.mean()),
        kld_p999=float(np.quantile(kld, 0.999)),
        finite=finite,
    )


def _log_softmax(values: np.ndarray) -> np.ndarray:
    shifted = values - values.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
