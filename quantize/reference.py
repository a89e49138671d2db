"""What a verification compares with, what it looks at, and what it concludes."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

Render = Callable[[str, list[dict[str, str]], str, str], str]
"""(template, messages, bos, eos) -> the prompt, with the generation prompt added or not as in
``Reference.rendered``."""


@dataclass
class Reference:
    """What the trained model is. Token ids come from the tokenizer that training used, with the
    special tokens in the texts parsed and none added."""

    texts: list[str]
    text_ids: list[list[int]]
    conversations: list[list[dict[str, str]]]
    rendered: list[str]
    """Each conversation as the trained model's template renders it."""
    rendered_ids: list[list[int]]
    chat_template: str
    bos: str
    """The token's text; "" where the model has none."""
    eos: str
    stop_ids: list[int]
    """Every token that ends an answer."""
    sequences: list[np.ndarray]
    """Token ids, int32 (length,)."""
    positions: list[np.ndarray]
    """Per sequence: indices into it whose next-token prediction is compared."""
    log_probs: list[np.ndarray]
    """Per sequence: the trained model's log-probabilities there, (positions, vocabulary)."""
    precise: bool = True
    """Whether ``log_probs`` were computed in float32; if not, in 16 bits, which is then the limit
    of what can be told."""
    vocabulary: list[str] | None = None
    """Token texts by id as the tokenizer stores them; None: not compared."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    passed: bool
    detail: str
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Verification:
    """The verdict on a file, with what it rests on. KLD in nats per position."""

    file: Path
    type: str
    checks: list[Check]
    top1: float
    kld_mean: float
    kld_p999: float
    bits_per_weight: float
    bytes: int = 0
    tensor_types: dict[str, int] = field(default_factory=dict)
    fallbacks: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> Literal["verified", "failed"]:
        return "failed" if self.reasons else "verified"

    @property
    def reasons(self) -> list[str]:
        """Why it failed; empty when it did not."""
        return [f"{check.name}: {check.detail}" for check in self.checks if not check.passed]

    def to_dict(self) -> dict[str, Any]:
        """The verification as plain JSON data; ``file`` is the name without its folder."""
        return {
            "file": self.file.name,
            "type": self.type,
            "verdict": self.verdict,
            "reasons": self.reasons,
            "bytes": self.bytes,
            "bits_per_weight": round(self.bits_per_weight, 3),
            "tensor_types": self.tensor_types,
            "fallbacks": self.fallbacks,
            # JSON has no infinity: a file that could not be measured has no figures.
            **{
                name: value if np.isfinite(value) else None
                for name, value in (
                    ("top1", self.top1),
                    ("kld_mean", self.kld_mean),
                    ("kld_p999", self.kld_p999),
                )
            },
            "checks": [asdict(check) for check in self.checks],
        }
