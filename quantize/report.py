"""The report that lies beside the exported files."""

from collections.abc import Mapping
from typing import Any


def report_markdown(report: Mapping[str, Any]) -> str:
    """``{"run", "model", "exports": [Verification.to_dict(), …]}`` as Markdown."""
    lines = [
        f"# {report['run']}",
        "",
        f"Tuned from `{report['model']}`. Each file was loaded by llama.cpp and compared with the "
        "trained model: token ids, the rendered prompt and the end tokens have to be equal, the "
        "predictions as close as the type allows.",
        "",
        "| file | verdict | size | bits per weight | same top token | mean KLD | 99.9% KLD |",
        "|---|---|---|---|---|---|---|",
    ]
    for item in report["exports"]:
        lines.append(
            f"| `{item['file']}` | {item['verdict']} | {_size(item['bytes'])} | "
            f"{item['bits_per_weight']:.2f} | {_share(item['top1'])} | "
            f"{_figure(item['kld_mean'])} | {_figure(item['kld_p999'])} |"
        )
    lines += [
        "",
        "KLD: Kullback-Leibler divergence of the file's predictions from the trained model's, in "
        "nats per position.",
    ]
    for item in report["exports"]:
        lines += ["", f"## {item['file']}", ""]
        types = ", ".join(f"{count} × {name}" for name, count in item["tensor_types"].items())
        if types:
            lines += [f"Tensors: {types}.", ""]
        for check in item["checks"]:
            mark = "ok" if check["passed"] else "**failed**"
            lines.append(f"- {mark}: {check['name']}: {check['detail']}")
        if item["fallbacks"]:
            lines += [
                "",
                "Rows that a type cannot divide were stored in another one, which makes the file "
                "larger than its name says:",
                "",
                *(f"- {fallback}" for fallback in item["fallbacks"]),
            ]
    return "\n".join(lines) + "\n"


def _size(count: int) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count = count / 1000  # type: ignore[assignment]
    return f"{count:.3g} GB"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2%}"


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.2g}"
