"""Secrets and personal data in texts: what a model should not learn and repeat.

Precision before recall: a warning that is wrong on every tenth row is read by nobody. Known
shapes of keys are taken at their prefix, numbers by their check digits (Luhn, ISO 7064 mod 97),
passwords only where something assigns them, and only values that are not plainly a stand-in.

No library: detect-secrets is made for lines of code (4 ms a row of prose, most of its words
"high entropy"), presidio needs a language model, phonenumbers weighs 23 MB. This takes some
microseconds a row, since a text without any of the key words is hardly looked at. Each pattern
has bounded repeats and is tried only where its first characters stand, so time is linear in the
length of the text, whatever it holds.

Left alone: IP addresses (a version number looks the same), names and postal addresses (they need a
model). E-mail addresses and telephone numbers that are reserved for examples (RFC 2606, area code
555, exchange 555-01xx) or plainly made up are found as ``example``.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

GradeKind = Literal["secret", "personal"]

_MOST = 100


@dataclass(frozen=True)
class Secret:
    """Something that should not be learned, fit to be printed."""

    kind: str
    """What it is, in words: ``AWS access key``, ``e-mail address``."""
    grade_kind: GradeKind
    """The kind of its Finding."""
    shown: str
    """Its first characters and its length, never the whole."""
    example: bool = False
    """Whether it is of a kind reserved for examples or made up: worth a note, not a warning."""


def find_secrets(text: str) -> list[Secret]:
    """What a text holds of secrets and personal data, each value once and a hundred at most.

    Any string is allowed.
    """
    found: dict[str, Secret] = {}
    for kind, grade_kind, value, example in _all(text):
        # A token that is also assigned to something comes first as a token, and is one secret.
        if not any(value in known for known in found):
            found[value] = Secret(kind, grade_kind, masked(value), example)
            if len(found) == _MOST:
                break
    return list(found.values())


def _all(text: str) -> Iterator[tuple[str, GradeKind, str, bool]]:
    for kind, value in (*_tokens(text), *_inner_tokens(text)):
        yield kind, "secret", value, False
    if "://" in text:
        for value in _url_passwords(text):
            yield "password in an address", "secret", value, False
    for kind, value in _assigned(text):
        yield kind, "secret", value, False
    if "@" in text or _SPELT_AT.search(text):
        for value, domain in _emails(text):
            yield "e-mail address", "personal", value, _RESERVED.search(domain) is not None
    for kind, value in _numbers(text):
        made_up = value == _MADE_UP_SSN or (kind == _TELEPHONE and _is_fiction(value))
        yield kind, "personal", value, made_up


def masked(value: str) -> str:
    """At most four characters, at most a quarter, and the length."""
    return f"{value[: min(4, len(value) // 4)]}… ({len(value)} characters)"


# ---- keys with a shape of their own ----

_EDGE = r"(?<![A-Za-z0-9_-])"


def _token(pattern: str) -> re.Pattern[str]:
    return re.compile(_EDGE + pattern)


_TOKENS: dict[str, tuple[tuple[str, str, re.Pattern[str]], ...]] = {
    "_": (
        ("GitHub token", "ghp_", _token(r"ghp_[A-Za-z0-9]{30,255}")),
        ("GitHub token", "gho_", _token(r"gho_[A-Za-z0-9]{30,255}")),
        ("GitHub token", "ghu_", _token(r"ghu_[A-Za-z0-9]{30,255}")),
        ("GitHub token", "ghs_", _token(r"ghs_[A-Za-z0-9]{30,255}")),
        ("GitHub token", "ghr_", _token(r"ghr_[A-Za-z0-9]{30,255}")),
        ("GitHub token", "github_pat_", _token(r"github_pat_[A-Za-z0-9_]{22,255}")),
        ("Stripe key", "sk_live_", _token(r"sk_live_[A-Za-z0-9]{16,250}")),
        ("Stripe key", "rk_live_", _token(r"rk_live_[A-Za-z0-9]{16,250}")),
        ("Stripe key", "sk_test_", _token(r"sk_test_[A-Za-z0-9]{16,250}")),
        ("Hugging Face token", "hf_", _token(r"hf_[A-Za-z0-9]{30,60}")),
        ("npm token", "npm_", _token(r"npm_[A-Za-z0-9]{30,60}")),
        ("Groq key", "gsk_", _token(r"gsk_[A-Za-z0-9]{30,100}")),
        ("Shopify token", "shpat_", _token(r"shpat_[A-Fa-f0-9]{32}")),
        ("DigitalOcean token", "dop_v1_", _token(r"dop_v1_[a-f0-9]{64}")),
        ("Docker token", "dckr_pat_", _token(r"dckr_pat_[A-Za-z0-9_-]{20,64}")),
        ("Linear key", "lin_api_", _token(r"lin_api_[A-Za-z0-9]{32,64}")),
        ("Notion token", "secret_", _token(r"secret_[A-Za-z0-9]{43}(?![A-Za-z0-9])")),
        ("Notion token", "ntn_", _token(r"ntn_[A-Za-z0-9]{40,60}(?![A-Za-z0-9])")),
        ("Replicate token", "r8_", _token(r"r8_[A-Za-z0-9]{37}(?![A-Za-z0-9])")),
    ),
    "-": (
        ("Anthropic key", "sk-ant-", _token(r"sk-ant-[A-Za-z0-9_-]{16,200}")),
        ("OpenAI key", "sk-", _token(r"sk-(?!ant-)[A-Za-z0-9_-]{16,200}")),
        ("GitLab token", "glpat-", _token(r"glpat-[A-Za-z0-9_-]{20,64}")),
        ("Slack token", "xox", _token(r"xox[abeoprs]-[A-Za-z0-9-]{10,250}")),
        ("Slack token", "xapp-", _token(r"xapp-[A-Za-z0-9-]{20,250}")),
        ("PyPI token", "pypi-", _token(r"pypi-[A-Za-z0-9_-]{40,250}")),
        ("xAI key", "xai-", _token(r"xai-[A-Za-z0-9]{40,120}")),
        ("Google OAuth secret", "GOCSPX-", _token(r"GOCSPX-[A-Za-z0-9_-]{20,40}")),
        ("Mailgun key", "key-", _token(r"key-[a-f0-9]{32}(?![A-Za-z0-9])")),
        ("New Relic key", "NRAK-", _token(r"NRAK-[A-Z0-9]{27}(?![A-Za-z0-9])")),
        ("NVIDIA key", "nvapi-", _token(r"nvapi-[A-Za-z0-9_-]{60,80}")),
        ("Perplexity key", "pplx-", _token(r"pplx-[A-Za-z0-9]{40,64}")),
        ("age key", "AGE-SECRET-KEY-1", _token(r"AGE-SECRET-KEY-1[A-Z0-9]{58}(?![A-Za-z0-9])")),
        (
            "private key",
            "-----BEGIN ",
            re.compile(
                r"-----BEGIN (?:[A-Z0-9]{2,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
                r"(?:\s|\\n){0,4}[A-Za-z0-9+/=:,\s\\-]{16,10000}"
            ),
        ),
    ),
    "": (
        ("AWS access key", "AKIA", _token(r"AKIA[A-Z0-9]{16}(?![A-Za-z0-9])")),
        ("AWS access key", "ASIA", _token(r"ASIA[A-Z0-9]{16}(?![A-Za-z0-9])")),
        ("Google API key", "AIza", _token(r"AIza[A-Za-z0-9_-]{30,60}")),
        (
            "Slack webhook",
            "hooks.slack.com/services/",
            re.compile(r"hooks\.slack\.com/services/[A-Za-z0-9]{5,20}/[A-Za-z0-9]{5,20}/\w{10,60}"),
        ),
        ("SendGrid key", "SG.", _token(r"SG\.[A-Za-z0-9_-]{16,40}\.[A-Za-z0-9_-]{16,80}")),
        ("Twilio key", "SK", _token(r"SK[a-f0-9]{32}(?![A-Za-z0-9])")),
        ("Vault token", "hvs.", _token(r"hvs\.[A-Za-z0-9_-]{24,250}")),
        ("Databricks token", "dapi", _token(r"dapi[a-f0-9]{32}")),
        (
            "Azure storage key",
            "AccountKey=",
            re.compile(r"AccountKey=[A-Za-z0-9+/]{40,100}={0,2}"),
        ),
        (
            "JSON web token",
            "eyJ",
            _token(r"eyJ[A-Za-z0-9_-]{8,5000}\.eyJ[A-Za-z0-9_-]{8,5000}\.[A-Za-z0-9_-]{10,1000}"),
        ),
    ),
}
# A character without which none of the group can stand; then (kind, the characters it begins
# with, its whole): the pattern is matched where those stand.
_INNER = (
    ("Terraform token", ".atlasv1.", re.compile(_EDGE + r"[A-Za-z0-9]{14}\.atlasv1\.[\w-]{60,80}")),
    ("Telegram bot token", ":AA", re.compile(_EDGE + r"\d{8,10}:AA[\w-]{33}(?![\w-])")),
    (
        "Discord bot token",
        ".",
        re.compile(_EDGE + r"[MNO][A-Za-z\d]{23,27}\.[\w-]{6}\.[\w-]{27,38}(?![\w.-])"),
    ),
)
# The same of keys that begin with letters or digits of their own.


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    for needed, group in _TOKENS.items():
        if needed not in text:
            continue
        for kind, prefix, pattern in group:
            at = text.find(prefix)
            while at >= 0:
                match = pattern.match(text, at)
                if match and not _is_stand_in(match[0][len(prefix) :]):
                    yield kind, match[0]
                at = text.find(prefix, match.end() if match else at + len(prefix))


def _inner_tokens(text: str) -> Iterator[tuple[str, str]]:
    for kind, needed, pattern in _INNER:
        if needed in text:
            for match in pattern.finditer(text):
                if _is_key(match[0].replace(":", "-")) and _entropy(match[0]) >= 3.5:
                    yield kind, match[0]


def _is_stand_in(rest: str) -> bool:
    """Whether what follows a key's prefix is filler: XXXX, …, or words (no key lacks digits)."""
    rest = rest[:200]
    words = len(rest) < 30 and not rest.isupper() and not any(map(str.isdigit, rest))
    return words or len(set(rest)) < 6 or _STAND_IN.search(rest.lower()) is not None


_STAND_IN = re.compile(
    r"your|xxxx|\*\*\*|\.\.\.|…|placeholder|redacted|insert|change.?me|_here|-here|<|\{|\$\(|%\("
)

# ---- passwords and keys that something assigns ----

_NAMES = {
    "pass": ("password", "passwd", "passphrase"),
    "key": (
        *("api_key", "apikey", "api-key", "api key", "access_key", "accesskey", "account_key"),
        *("private_key", "encryption_key", "auth_key", "signing_key", "secret_key"),
    ),
    "": ("pwd", "secret", "token", "credential"),
}
_INVENTED = re.compile(
    r"(?:generat|creat|random|strong|secure|suggest|come up with)[^\n]{0,60}password"
    r"|password[^\n]{0,60}(?:generat|random)|a new password"
)
_PASSWORDS = {"password", "passwd", "passphrase", "pwd"}
_VALUE = re.compile(
    r"[\w-]{0,24}[\"'`]?\s{0,3}(?:=>|:=|=|:)\s{0,3}([\"'`]?)([^\s\"'`<>(){}\[\]]{6,400})"
)
_SAID = re.compile(r"\s{1,3}is:?\s{1,3}[\"'`“]?([^\s\"'`“”]{6,100})")
_BEARER = re.compile(r"[Bb]earer\s{1,3}([A-Za-z0-9_.~+/=-]{20,2000})")
_BASIC = re.compile(r"[A-Za-z0-9_./+=-]{16,400}")
_UPPER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_COMMON = {
    *("password", "passwd", "passphrase", "secret", "mypassword", "mysecret", "changeme"),
    *("password1", "password12", "password123", "password1234", "mypassword123", "secret123"),
    *("newpassword", "oldpassword", "newpassword123", "pass123", "pass1234", "test123", "test1234"),
    *("123456", "1234567", "12345678", "123456789", "1234567890", "user123", "admin123"),
    *("yourpassword", "userpassword", "db_password", "hashed_password"),
}


def _assigned(text: str) -> Iterator[tuple[str, str]]:
    lower = text.lower()
    if len(lower) != len(text):  # some capitals have small letters of another length
        lower = text.translate(_UPPER)
    # An answer that makes up a password gives away none.
    invented = "pass" in lower and _INVENTED.search(lower) is not None
    names = [name for needed, group in _NAMES.items() if needed in lower for name in group]
    for name in names:
        at = lower.find(name)
        while at >= 0:
            end = at + len(name)
            match = _VALUE.match(text, end)
            following = end
            if match:
                value = match[2].rstrip(".,;:!?\\")
                following = match.end()
                if name not in _PASSWORDS:
                    if _is_key(value):
                        yield "assigned key", value
                elif not invented and _is_password(value, quoted=bool(match[1])):
                    yield "password", value
            elif name in _PASSWORDS and not invented and (said := _SAID.match(text, end)):
                value = said[1].rstrip(".,;:!?")
                if _is_password(value, quoted=False):
                    yield "password", value
            at = lower.find(name, following)
    at = lower.find("bearer ")
    while at >= 0:
        match = _BEARER.match(text, at)
        if match and _is_key(match[1]):
            yield "bearer token", match[1]
        at = lower.find("bearer ", at + 7)


def _is_password(value: str, quoted: bool) -> bool:
    """Letters with digits or signs: a word alone is as likely the name of something."""
    if len(value) < 6 or value.lower() in _COMMON or _STAND_IN.search(value.lower()):
        return False
    letters = any(c.isalpha() for c in value)
    digits = any(c.isdigit() for c in value)
    signs = any(c in "!@#$%^&*+?" for c in value)
    if not quoted and (any(c in "./\\,;=:" for c in value) or value[0] in "$@%&*#"):
        return False  # an expression, a path, a variable
    return letters and (digits or (signs and quoted)) and len(set(value)) >= 4


def _is_key(value: str) -> bool:
    """Long, of letters and digits, and too mixed to be words: 3 bits a character (Shannon)."""
    if len(value) < 32 and "example" in value.lower():
        return False
    if not _BASIC.fullmatch(value) or _STAND_IN.search(value.lower()):
        return False
    digits = sum(c.isdigit() for c in value)
    if digits < (1 if len(value) >= 32 else 2) or digits == len(value):
        return False
    return _entropy(value) >= 3.0


def _entropy(value: str) -> float:
    counts = Counter(value).values()
    return -sum(n / len(value) * math.log2(n / len(value)) for n in counts)


_USER_AND_PASSWORD = re.compile(r"://[^\s:/@\"'<>]{0,64}:([^\s:/@\"'<>]{3,128})@[\w.-]{1,253}")


def _url_passwords(text: str) -> Iterator[str]:
    for match in _USER_AND_PASSWORD.finditer(text):
        value = match[1]
        plain = value.lower() in _COMMON or value.lower() in {"pass", "pwd", "pw"}
        if not plain and not _STAND_IN.search(value.lower()) and len(set(value)) > 2:
            yield value


# ---- e-mail addresses ----

_DOMAIN = re.compile(
    r"@((?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})\.){1,6}[A-Za-z]{2,24})(?![A-Za-z0-9_@-])"
)
_SPELT_AT = re.compile(r"[(\[] ?at ?[)\]]", re.IGNORECASE)
_SPELT_DOMAIN = re.compile(
    r" ?[(\[] ?at ?[)\]] ?((?:[A-Za-z0-9][A-Za-z0-9-]{0,62}(?: ?[(\[] ?dot ?[)\]] ?|\.)){1,6}"
    r"[A-Za-z]{2,24})(?![A-Za-z0-9_@-])",
    re.IGNORECASE,
)
_SPELT_DOT = re.compile(r" ?[(\[] ?dot ?[)\]] ?", re.IGNORECASE)
# name(at)gmail(dot)com
_LOCAL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._%+-"
_RESERVED = re.compile(
    r"(?:^|\.)(?:example[\w-]*\.\w+|[\w-]+\.(?:example|test|invalid|localhost|local))$"
    # Not reserved, but what people and models write where any address will do.
    r"|^(?:my|our|the)[\w-]*\.\w+$|^(?:e?mail|domain|company|website|site|test|abc|xyz)\.com$"
)
_FILES = {
    *("png", "jpg", "jpeg", "gif", "svg", "webp", "ico", "css", "js", "ts", "html", "py", "md"),
    *("json", "yaml", "yml", "txt", "pdf"),
}
_NO_PERSONS = {"git", "your", "you", "user", "username", "name", "yourname", "email", "youremail"}


def _emails(text: str) -> Iterator[tuple[str, str]]:
    """Addresses as they are written, with their domains."""
    for match in (*_DOMAIN.finditer(text), *_SPELT_DOMAIN.finditer(text)):
        before = text[max(0, match.start() - 64) : match.start()]
        local = before[len(before.rstrip(_LOCAL)) :].lstrip("._%+-")
        domain = _SPELT_DOT.sub(".", match[1]).lower()
        if (
            local
            and local.lower() not in _NO_PERSONS
            and not before[: -len(local)].endswith((":", "@"))  # user:password@host; @user@host
            and domain.rpartition(".")[2] not in _FILES
            and not domain.startswith("your")
        ):
            yield local + match[0], domain


# ---- numbers ----

_RUN = re.compile(r"[0-9][0-9 ().-]{7,}[0-9]")
# Bounds on both sides: not a part of a longer number, of a decimal or of an identifier.
_BEFORE, _AFTER = r"(?<![\w.,+/-])", r"(?![\w/]|[.,-]\d)"
_CARD = re.compile(
    rf"{_BEFORE}(?:\d{{4}}([ -])\d{{4}}\1\d{{4}}\1\d{{4}}(?:\1\d{{1,3}})?"
    rf"|\d{{4}}([ -])\d{{6}}\2\d{{4,5}}|\d{{13,19}}){_AFTER}"
)
_SSN = re.compile(rf"{_BEFORE}\d{{3}}-\d{{2}}-\d{{4}}{_AFTER}")
_MADE_UP_SSN = "123-45-6789"
_NORTH_AMERICA = re.compile(
    r"(?<![\w.,/-])(?:\+?1[ .-]?)?(?:\([2-9]\d\d\) ?|[2-9]\d\d([ .-]))[2-9]\d\d[ .-]\d{4}" + _AFTER
)
_INTERNATIONAL = re.compile(
    r"(?<![\w.,+/)-])\+[1-9]\d{0,2}(?:[ .-]?\(\d{1,4}\))?(?:[ .-]?\d){6,14}" + _AFTER
)
_TELEPHONE = "telephone number"
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d\d(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?!\w)")
# Lengths of the IBANs of the countries that have them (registry of ISO 13616).
_IBAN_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO",
        16: "BE",
        18: "DK FI FO GL NL SD",
        19: "MK SI",
        20: "AT BA EE KZ LT LU XK",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA",
        23: "AE GI IL IQ OM SO TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST",
        26: "IS TR",
        27: "BI DJ FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
        29: "BR EG PS QA UA",
        30: "JO KW MU YE",
        31: "MT SC",
        32: "LC",
        33: "RU",
    }.items()
    for country in countries.split()
}


def _numbers(text: str) -> Iterator[tuple[str, str]]:
    runs = [match for match in _RUN.finditer(text) if sum(map(str.isdigit, match[0])) >= 9]
    if not runs:
        return
    for match in _IBAN.finditer(text):
        if _is_iban(match[0]):
            yield "bank account number (IBAN)", match[0]
    for run in runs:
        # Two characters more on both sides: a sign or a bracket, and what must not follow.
        first, end = max(0, run.start() - 2), run.end() + 2
        for kind, pattern, holds in _NUMBERS:
            for match in pattern.finditer(text, first, end):
                if holds(match[0]):
                    yield kind, match[0]


def _is_card(value: str) -> bool:
    digits = _digits(value)
    if not 13 <= len(digits) <= 19 or len(set(digits)) < 2:
        return False
    two, four = int(digits[:2]), int(digits[:4])
    if digits[0] == "4":
        issued = len(digits) in (13, 16, 19)  # Visa
    elif 51 <= two <= 55 or 2221 <= four <= 2720:
        issued = len(digits) == 16  # Mastercard
    elif two in (34, 37):
        issued = len(digits) == 15  # American Express
    elif two in (36, 38, 39) or 300 <= int(digits[:3]) <= 305:
        issued = len(digits) == 14  # Diners Club
    else:
        # Discover, UnionPay, JCB
        issued = (four == 6011 or two in (62, 64, 65, 35)) and len(digits) >= 16
    return issued and _luhn(digits)


def _luhn(digits: str) -> bool:
    doubled = [2 * int(digit) for digit in digits[-2::-2]]
    return (sum(map(int, digits[::-2])) + sum(n - 9 if n > 9 else n for n in doubled)) % 10 == 0


def _is_ssn(value: str) -> bool:
    area, group, serial = value.split("-")
    return area not in ("000", "666") and area[0] != "9" and group != "00" and serial != "0000"


def _is_north_american(value: str) -> bool:
    # The 8xx numbers are no person's.
    return _digits(value)[-10:-7] not in {"800", "888", "877", "866", "855", "844", "833"}


def _is_fiction(value: str) -> bool:
    """Area code 555 is not given out; exchange 555-01xx is kept for fiction."""
    digits = _digits(value)[-10:]
    north_american = not value.startswith("+") or value.startswith("+1")
    return north_american and (digits[:3] == "555" or digits[3:8] == "55501")


def _is_international(value: str) -> bool:
    digits = _digits(value)
    if digits[0] == "1":
        return False  # North America: the other pattern
    return 9 <= len(digits) <= 15 and len(set(digits)) > 3


def _is_iban(value: str) -> bool:
    plain = value.replace(" ", "")
    if _IBAN_LENGTHS.get(plain[:2]) != len(plain):
        return False
    return int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1


def _digits(value: str) -> str:
    return "".join(c for c in value if c.isdigit())


_NUMBERS: tuple[tuple[str, re.Pattern[str], Callable[[str], bool]], ...] = (
    ("payment card number", _CARD, _is_card),
    ("US social security number", _SSN, _is_ssn),
    (_TELEPHONE, _INTERNATIONAL, _is_international),
    (_TELEPHONE, _NORTH_AMERICA, _is_north_american),
)
