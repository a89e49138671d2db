"""Which languages the rows are in, and characters that should not be there.

Languages: py3langid (139 languages, about 70 µs for a short text, 4.5 MB, BSD), on a systematic
sample of the rows: every k-th of them, where k doubles as the data grows. lingua is finer on
single words, but weighs 96 MB.

Odd characters: what damage in transit leaves behind (U+FFFD, mojibake, control characters) and
what nobody sees (zero-width and bidirectional characters, tags). Where a script or an emoji
needs an invisible character, it is none: joiners in Persian, in the scripts of India and in
emoji families, marks of direction beside Arabic or Hebrew. Mojibake is ftfy's judgement.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any

# ---- languages ----

_SURE = 0.5
# Below this probability a text, mostly one of a few words or of numbers, has no language.
_BEGINNING = 400
# Characters of a text that are looked at: more of them say no more about its language.


class Languages:
    """The languages of a stream of rows: ``add`` each row's text, then ask for ``result``.

    Holds the beginnings of at most ``2 * sample`` rows, whatever the number of rows.
    """

    def __init__(self, sample: int = 2_500) -> None:
        self._sample = sample
        self._every = 1
        self._seen = 0
        self._texts: list[str] = []

    def add(self, text: str) -> None:
        """``text``: all that a row says, at least its beginning; any string."""
        if self._seen % self._every == 0:
            self._texts.append(text[:_BEGINNING])
            if len(self._texts) > 2 * self._sample:
                self._texts = self._texts[::2]
                self._every *= 2
        self._seen += 1

    def result(self) -> dict[str, Any]:
        """``{"sampled": n, "every": k, "found": [{"language", "code", "rows", "share"}, …]}``.

        Rows of the sample and their share of it, the commonest language first. Rows too short or
        too mixed to tell are "undetermined", code "und"; numbers and code that are no language
        "not a language", code "zxx".
        """
        counts = Counter(language_of(text) for text in self._texts)
        return {
            "sampled": len(self._texts),
            "every": self._every,
            "found": [
                {
                    "language": language_name(code),
                    "code": code,
                    "rows": rows,
                    "share": rows / len(self._texts),
                }
                for code, rows in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
            ],
        }


def language_of(text: str) -> str:
    """The ISO 639 code of a text's language; "und" where it is too short or too mixed to tell."""
    # Lone surrogates cannot be encoded, which the library does.
    clean = text[:_BEGINNING].encode("utf-8", "replace").decode("utf-8")
    if not any(map(str.isalpha, clean)):
        return "und" if not clean.strip() else "zxx"
    return str(_identifier().classify(clean)[0])


def language_name(code: str) -> str:
    """In English; the code itself where it is a rare one."""
    return _NAMES.get(code, code)


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True, min_confidence=_SURE)


_CODES = """
af=Afrikaans am=Amharic ar=Arabic ary=Moroccan-Arabic arz=Egyptian-Arabic az=Azerbaijani
be=Belarusian bg=Bulgarian bn=Bengali bs=Bosnian ca=Catalan cs=Czech cy=Welsh da=Danish de=German
el=Greek en=English eo=Esperanto es=Spanish et=Estonian eu=Basque fa=Persian fi=Finnish fr=French
ga=Irish gl=Galician gu=Gujarati ha=Hausa he=Hebrew hi=Hindi hr=Croatian hu=Hungarian hy=Armenian
id=Indonesian ig=Igbo is=Icelandic it=Italian ja=Japanese jv=Javanese ka=Georgian kk=Kazakh
km=Khmer kn=Kannada ko=Korean la=Latin lo=Lao lt=Lithuanian lv=Latvian mg=Malagasy mk=Macedonian
ml=Malayalam mn=Mongolian mr=Marathi ms=Malay my=Burmese ne=Nepali nl=Dutch nn=Nynorsk
no=Norwegian pa=Punjabi pcm=Nigerian-Pidgin pl=Polish ps=Pashto pt=Portuguese ro=Romanian
ru=Russian sa=Sanskrit si=Sinhala sk=Slovak sl=Slovenian so=Somali sq=Albanian sr=Serbian
sv=Swedish sw=Swahili ta=Tamil te=Telugu th=Thai tl=Tagalog tr=Turkish uk=Ukrainian ur=Urdu
uz=Uzbek vi=Vietnamese xh=Xhosa yo=Yoruba yue=Cantonese zh=Chinese zu=Zulu
"""
_NAMES = {"und": "undetermined", "zxx": "not a language"} | {
    code: name.replace("-", " ") for code, _, name in (c.partition("=") for c in _CODES.split())
}

# ---- odd characters ----

_JUDGED = 20_000
# Characters of a text that ftfy sees, and places of one kind that are looked at.
_MOJIBAKE = "mojibake (é read as Ã©)"


@dataclass
class _Seen:
    rows: int
    file: str
    line: int


class OddCharacters:
    """Counts odd characters over a stream of rows: ``add`` each, then ask for ``result``."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def add(self, text: str, file: str = "", line: int = 0) -> None:
        """``text``: all that a row says, at once: what is odd depends on what stands around."""
        for kind in odd_characters(text):
            seen = self._seen.get(kind)
            if seen:
                seen.rows += 1
            else:
                self._seen[kind] = _Seen(1, file, line)

    def result(self) -> list[dict[str, Any]]:
        """``{"kind", "rows", "example_file", "example_line"}`` each, the commonest first."""
        return [
            {
                "kind": kind,
                "rows": seen.rows,
                "example_file": seen.file,
                "example_line": seen.line,
            }
            for kind, seen in sorted(self._seen.items(), key=lambda item: (-item[1].rows, item[0]))
        ]


def odd_characters(text: str) -> list[str]:
    """The kinds of odd characters in a text, in words, each once; any string is allowed."""
    found = []
    if _CONTROL.search(text):
        found.append("control characters")
    if not text.isascii():
        suspect = _SUSPECT.search(text) is not None
        for kind, pattern, is_odd in _KINDS if suspect else ():
            if any(is_odd(text, match) for match in islice(pattern.finditer(text), _JUDGED)):
                found.append(kind)
        if _MAYBE_MOJIBAKE.search(text) and _is_mojibake(text):
            found.append(_MOJIBAKE)
    if "&" in text and _ENTITY.search(text) and not _ABOUT_HTML.search(text):
        found.append("HTML entities (&amp;)")
    if "<" in text and _TAG.search(text) and not _ABOUT_HTML.search(text):
        found.append("HTML tags (<br>)")
    return found


_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_SUSPECT = re.compile(
    "[\x80-\x9f\u00a0\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2069\ue000-\uf8ff"
    "\ufdd0-\ufdef\ufeff\ufffd-\uffff\ud800-\udfff\U000e0000-\U000e007f\U000f0000-\U0010ffff]"
)
# All that the kinds below look for, so that most texts are searched once only.
_MAYBE_MOJIBAKE = re.compile(
    "[\u00c2-\u00f4\u0102\u0103\u0192\u0393\u221a\u251c][^\x00-\x7f]|(?:[\u0420\u0421][^\x00-\x7f]){2}"
)
# A character that a lead byte of UTF-8 became, and one more; in Windows-1251 it is a Р or С.
_ENTITY = re.compile(r"&(?:amp|lt|gt|quot|apos|nbsp|#\d{2,6}|#x[0-9A-Fa-f]{2,6});")
_TAG = re.compile(r"</?(?:br|p|div|span|b|i|strong|em|ul|ol|li|font|center|td|tr)\s{0,3}/?>")
# Rows about markup, web pages or code hold it rightly.
_ABOUT_HTML = re.compile(
    r"```|<!DOCTYPE|<(?:html|body|head|script|table|img|input|form)\b|href=|class=|style="
    r"|\b(?:html|xml|xhtml|jsx|svg|tags?|markup|web ?pages?|website|element|entit(?:y|ies))\b",
    re.IGNORECASE,
)


def _is_mojibake(text: str) -> bool:
    from ftfy.badness import is_bad

    # U+FFFD counts as bad there, and has its own kind here.
    return bool(is_bad(text[:_JUDGED].replace("\ufffd", " ")))


def _always(text: str, match: re.Match[str]) -> bool:
    return True


def _joins_nothing(text: str, match: re.Match[str]) -> bool:
    """Whether a joiner (or non-joiner) stands where no script and no emoji has one."""
    before = match.start() - 1
    while before >= 0 and (
        text[before] == "\ufe0f" or "\U0001f3fb" <= text[before] <= "\U0001f3ff"
    ):
        before -= 1
    if before < 0:
        return True
    code = ord(text[before])
    scripts = 0x0590 <= code <= 0x1CFF or 0xA800 <= code <= 0xABFF or 0xFB1D <= code <= 0xFEFC
    symbols = 0x2190 <= code <= 0x2BFF or 0x1F000 <= code <= 0x1FAFF or 0x10A00 <= code <= 0x11FFF
    return not (scripts or symbols)


def _beside_no_breaking_script(text: str, match: re.Match[str]) -> bool:
    """Zero-width spaces divide words in scripts that write none (Thai, Khmer, Burmese, …)."""
    around = text[max(0, match.start() - 20) : match.end() + 20]
    return not any(
        "\u0e00" <= c <= "\u0eff" or "\u1000" <= c <= "\u109f" or "\u1780" <= c <= "\u17ff"
        or "\u0f00" <= c <= "\u0fff" or "\u3040" <= c <= "\u9fff"
        for c in around
    )  # fmt: skip


def _beside_no_right_to_left(text: str, match: re.Match[str]) -> bool:
    around = text[max(0, match.start() - 200) : match.end() + 200]
    return not any(unicodedata.bidirectional(c) in ("R", "AL", "AN") for c in around)


def _no_flag(text: str, match: re.Match[str]) -> bool:
    """The flags of England, Scotland and Wales are a black flag and tags."""
    return text[match.start() - 1 : match.start()] != "\U0001f3f4"


_KINDS: tuple[tuple[str, re.Pattern[str], Callable[[str, re.Match[str]], bool]], ...] = (
    ("replacement characters (U+FFFD)", re.compile("\ufffd"), _always),
    ("control characters (C1)", re.compile("[\x80-\x84\x86-\x9f]"), _always),
    ("zero-width spaces", re.compile("[\u200b\u2060-\u2064\u180e]"), _beside_no_breaking_script),
    ("zero-width joiners", re.compile("[\u200c\u200d]"), _joins_nothing),
    ("byte order marks inside", re.compile("\ufeff"), _always),
    ("soft hyphens", re.compile("\u00ad"), _always),
    (
        "bidirectional controls",
        re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"),
        _beside_no_right_to_left,
    ),
    ("line separators (U+2028)", re.compile("[\u2028\u2029]"), _always),
    ("non-breaking spaces", re.compile("(?<=[^\\W\\d])\u00a0(?=[^\\W\\d])"), _always),
    ("invisible tag characters", re.compile("[\U000e0000-\U000e007f]+"), _no_flag),
    (
        "private-use characters",
        re.compile("[\ue000-\uf8ff\U000f0000-\U000ffffd\U00100000-\U0010fffd]"),
        _always,
    ),
    ("noncharacters", re.compile("[\ufdd0-\ufdef\ufffe\uffff]"), _always),
    ("lone surrogates", re.compile("[\ud800-\udfff]"), _always),
)
