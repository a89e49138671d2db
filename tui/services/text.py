"""Figures as people read them."""

import time


def size(count: int) -> str:
    """Bytes with a unit: 12 KiB, 3.4 MiB, 1.25 GiB."""
    if count >= 2**30:
        return f"{count / 2**30:.2f} GiB"
    if count >= 2**20:
        return f"{count / 2**20:.1f} MiB"
    return f"{count / 2**10:.0f} KiB"


def duration(seconds: float) -> str:
    """3:07, or 2:03:07 from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def ago(moment: float) -> str:
    """How long ago a moment in seconds since the epoch was, in its largest unit; empty for none."""
    if not moment:
        return ""
    passed = max(0.0, time.time() - moment)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if passed >= length:
            return f"{int(passed // length)} {unit}"
    return "now"


def loss(value: float | None) -> str:
    """A loss with four digits, or a dash."""
    return "–" if value is None else f"{value:.4f}"
