"""Which of llama.cpp's pre-tokenizers splits text as a ``tokenizer.json`` does.

llama.cpp has its pre-tokenizers built in and picks one by name. The name is found here from the
regular expressions in ``tokenizer.json`` themselves, so that added tokens, another BOS or a
fine-tuned copy of a tokenizer change nothing. Unknown expressions are refused: a GGUF with the
wrong pre-tokenizer works, slightly wrong, forever.
"""

from pathlib import Path
from typing import Any

from edgetune.errors import RequestError

# The endings 's 't 're 've 'm 'll 'd, in any case: tokenizers spell this group in several ways.
_ENDINGS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_ENDINGS_SPELLINGS = (
    "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])",
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)",
)
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_TAIL = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_HEAD = r"[^\r\n\p{L}\p{N}]?"


def _words(numbers: str, letters: str = r"\p{L}+", others: str = r"[^\s\p{L}\p{N}]+") -> str:
    return f"{_ENDINGS}|{_HEAD}{letters}|{numbers}| ?{others}[\\r\\n]*{_TAIL}"


def _cased(ending: str, numbers: str) -> str:
    return (
        f"{_HEAD}{_UPPER}*{_LOWER}+{ending}|{_HEAD}{_UPPER}+{_LOWER}*{ending}"
        f"|{numbers}| ?[^\\s\\p{{L}}\\p{{N}}]+[\\r\\n/]*{_TAIL}"
    )


# Expressions applied in turn -> llama.cpp's name, where merges are ignored for texts that are a
# token by themselves, and where they are not. None: llama.cpp has no such combination.
_KNOWN: dict[tuple[str, ...], tuple[str | None, str | None]] = {
    (_GPT2,): (None, "gpt-2"),
    (r"\p{N}", _GPT2): (None, "smollm"),
    (_words(r"\p{N}"),): (None, "qwen2"),
    (_words(r"\p{N}", r"[\p{L}\p{M}]+", r"[^\s\p{L}\p{M}\p{N}]+"),): (None, "qwen35"),
    (_words(r"\p{N}{1,3}"),): ("llama-bpe", "dbrx"),
    (_cased("", r"\p{N}"),): ("tekken", None),
    (_cased(f"{_ENDINGS}?", r"\p{N}{1,3}"),): (None, "gpt-4o"),
}


def _expressions(steps: list[dict[str, Any]]) -> list[str] | None:
    """The steps as regular expressions that isolate what they match; None if one is no such."""
    found = []
    byte_level = False
    for step in steps:
        kind = step["type"]
        if kind == "Split" and step.get("behavior") in ("Isolated", "Removed"):
            expression = step["pattern"].get("Regex")
            # "Removed" with "invert" keeps the matches and nothing else: the same as isolating
            # them where the expression covers every character, as all known ones do.
            if expression is None or bool(step.get("invert")) != (step["behavior"] == "Removed"):
                return None
            found.append(expression)
        elif kind == "Digits" and step.get("individual_digits"):
            found.append(r"\p{N}")
        elif kind == "ByteLevel" and not step.get("add_prefix_space"):
            byte_level = True
            if step.get("use_regex", True):
                found.append(_GPT2)
        else:
            return None
    return found if byte_level else None


def recognize(path: Path, steps: list[dict[str, Any]], ignore_merges: bool) -> str:
    """llama.cpp's name for the pre-tokenizer of ``path``, whose steps are given.

    Raises RequestError, naming the file, where llama.cpp has none like it.
    """
    expressions = _expressions(steps)
    if expressions is not None:
        normalized = []
        for expression in expressions:
            for spelling in _ENDINGS_SPELLINGS:
                expression = expression.replace(spelling, _ENDINGS)
            normalized.append(expression)
        ignoring, applying = _KNOWN.get(tuple(normalized), (None, None))
        name = ignoring if ignore_merges else applying
        if name is not None:
            return name
    shown = "; ".join(expressions) if expressions else ", ".join(step["type"] for step in steps)
    raise RequestError(
        f"{path}: llama.cpp has no pre-tokenizer that splits text like this one: {shown}"
        + (" (with ignore_merges)." if ignore_merges else "."),
        "Choose a base model of another family.",
    )
