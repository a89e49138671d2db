"""How close a GGUF's predictions are to the trained model's, and how close they have to be.

Per position the Kullback-Leibler divergence KLD = sum p (ln p - ln q), p the trained model's
prediction and q the file's, and whether both prefer the same next token. Rounding moves these
figures a little, by an amount known per build type; a structural fault (rows in the wrong order,
missing rope factors, a wrong norm) moves them by orders of magnitude more.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

# Two tokens whose log-probabilities are nearer than this count as equally preferred: the sums
# of two engines differ in the last bits, and a tie may fall either way.
_TIE = 1e-4
_ROWS = 64


@dataclass(frozen=True)
class Closeness:
    """Figures over all positions compared; KLD in nats."""

    positions: int
    top1: float
    kld_mean: float
    kld_p999: float
    finite: bool


UNKNOWN = Closeness(0, 0.0, math.inf, math.inf, False)
"""For a file that could not be measured."""


@dataclass(frozen=True)
class Limit:
    """What a file must reach: ``top1`` at least, mean KLD (nats) at most."""

    top1: float
    kld: float


# For a file made of one tensor type alone. F32, F16, BF16: what a right conversion reaches with
# room to spare (measured on three small trained models: KLD below 6e-12, 1.2e-6, 8e-5). Quantized
# types: 14 or more times the mean KLD published for Llama-3-8B on WikiText-2 (Q8_0 .0014, Q6_K
# .0055, Q4_K_M .031), 4 times for Q2_K (.445), since what is lost there cannot grow as far; Q5
# and Q3 lie between. The small models stay well below (measured: Q8_0 .0007, Q6_K .001, Q5
# .016, Q4 .018, Q3 .08, Q2 .08); with unpermuted rows they are at 3 to 4 nats whatever the type.
# How often the top token is the same depends on how sure a model is: a random one, unsure of
# everything, reaches .97 (Q8_0), .85 (Q5), .66 (Q4), so KLD decides for quantized types.
_LIMITS = {
    "F32": Limit(1.0, 1e-5),
    "F16": Limit(0.99, 1e-4),
    "BF16": Limit(0.97, 1e-3),
    "8": Limit(0.9, 0.02),
    "6": Limit(0.8, 0.08),
    "5": Limit(0.6, 0.2),
    "4": Limit(0.5, 0.5),
    "3": Limit(0.4, 1.0),
    "2": Limit(0.25, 2.0),
}


def _type_limit(tensor_type: str) -> Limit:
    digit = re.search(r"\d", tensor_type)
    known = _LIMITS.get(tensor_type) or (_LIMITS.get(digit.group()) if digit else None)
    return known or _LIMITS["2"]


def limit_of(weights: Mapping[str, int], precise: bool = True) -> Limit:
    """The limit for a file whose tensors hold so many ``weights`` of each type, compared with a
    float32 reference if ``precise`` and with one computed in 16 bits otherwise.

    The mean over all weights: noise of independent roundings adds up, and a file is held to
    what it really consists of, which after fallbacks is more precise than its name says.
    """
    total = sum(weights.values())
    parts = [(count / total, _type_limit(name)) for name, count in weights.items()]
    limit = Limit(
        top1=sum(share * limit.top1 for share, limit in parts),
        kld=sum(share * limit.kld for share, limit in parts),
    )
    coarse = _LIMITS["BF16"]
    if precise:
        return limit
    return Limit(min(limit.top1, coarse.top1), max(limit.kld, coarse.kld))


def holds(closeness: Closeness, limit: Limit) -> bool:
    """Whether the figures keep to the limit.

    A few positions make a coarse share, so three standard errors are granted to the top token;
    none where every one has to agree.
    """
    spread = math.sqrt(limit.top1 * (1 - limit.top1) / max(closeness.positions, 1))
    agreed = closeness.top1 >= limit.top1 - 3 * spread
    return closeness.finite and agreed and closeness.kld_mean <= limit.kld


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
            terms = np.exp(p) * (np.maximum(p, -1e30) - q)
            divergences.append(np.maximum(terms.sum(axis=1), 0.0))
            preferred = np.take_along_axis(p, q.argmax(axis=1)[:, None], axis=1)[:, 0]
            agreements.append(preferred >= p.max(axis=1) - _TIE)
    if not divergences:
        return UNKNOWN
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
