"""What should not be learned is found, shown masked, and nothing else is taken for it."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetune.data.checks.secrets import find_secrets

_MIXED = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0"

SECRETS = [
    ("AWS access key", "AKIAIOSFODNN7EXAMPLE"),
    ("AWS access key", "AKIAZ7Q2M4N8X1K3P5R9"),
    ("GitHub token", "ghp_" + _MIXED[:36]),
    ("GitHub token", "github_pat_" + _MIXED),
    ("OpenAI key", "sk-proj-" + _MIXED),
    ("OpenAI key", "sk-1234567890abcdef1234567890abcdef"),
    ("Anthropic key", "sk-ant-api03-" + _MIXED),
    ("Google API key", "AIzaSyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY"),
    ("Slack token", "xoxb-123456789012-1234567890123-" + _MIXED[:24]),
    ("Stripe key", "sk_live_" + _MIXED[:24]),
    ("Hugging Face token", "hf_" + _MIXED[:34]),
    ("npm token", "npm_" + _MIXED[:36]),
    ("Google OAuth secret", "GOCSPX-" + _MIXED[:28]),
    ("Telegram bot token", "1234567890:AA" + _MIXED[:33]),
    ("Discord bot token", "MTk4NjIyNDgzNDcxOTI1MjQ4.Cl2FMQ.ZnCjm1XVW7vRze4b7Cq4se7kKWs"),
    ("Docker token", "dckr_pat_" + _MIXED[:27]),
    ("Mailgun key", "key-" + "0a1b2c3d4e5f6789" * 2),
    ("Twilio key", "SK" + "0a1b2c3d4e5f6789" * 2),
    ("New Relic key", "NRAK-" + _MIXED[:27].upper()),
    ("Notion token", "secret_" + _MIXED + "u1V"),
    ("Notion token", "ntn_" + _MIXED + "u1V2w3"),
    ("NVIDIA key", "nvapi-" + (_MIXED * 2)[:64]),
    ("Perplexity key", "pplx-" + (_MIXED * 2)[:48]),
    ("Replicate token", "r8_" + _MIXED[:37]),
    ("Linear key", "lin_api_" + _MIXED),
    ("Terraform token", _MIXED[:14] + ".atlasv1." + (_MIXED * 2)[:67]),
    ("Vault token", "hvs." + _MIXED),
    ("age key", "AGE-SECRET-KEY-1" + (_MIXED * 2)[:58].upper()),
    ("PyPI token", "pypi-AgEIcHlwaS5vcmc" + _MIXED * 2),
    (
        "JSON web token",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
    ),
]
PERSONAL = [
    ("e-mail address", "jane.doe@gmail.com"),
    ("e-mail address", "bob_jones(at)gmail(dot)com"),
    ("payment card number", "4111 1111 1111 1111"),
    ("payment card number", "4111111111111111"),
    ("payment card number", "5500-0000-0000-0004"),
    ("payment card number", "378282246310005"),
    ("bank account number (IBAN)", "GB82 WEST 1234 5698 7654 32"),
    ("bank account number (IBAN)", "DE89370400440532013000"),
    ("US social security number", "219-09-9999"),
    ("telephone number", "+49 170 1234567"),
    ("telephone number", "(415) 555-2671"),
    ("telephone number", "+1 917-444-6321"),
]


@pytest.mark.parametrize(("kind", "value"), SECRETS + PERSONAL)
@pytest.mark.parametrize("around", ["{}", "Use {} for that, please.", "a: {}\nb", '{{"x": "{}"}}'])
def test_a_planted_value_is_found_and_never_printed_whole(
    kind: str, value: str, around: str
) -> None:
    [found] = find_secrets(around.format(value))
    assert (found.kind, found.example) == (kind, False)
    assert found.grade_kind == ("secret" if (kind, value) in SECRETS else "personal")
    assert value[5:] not in found.shown
    assert f"({len(value)} characters)" in found.shown


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('password = "hunter2"', "password"),
        ("DB_PASSWORD=Sup3rS3cret", "password"),
        ("My password is Tr0ub4dor&3.", "password"),
        ("postgres://admin:s3cr3tpw@db.internal:5432/x", "password in an address"),
        ("Authorization: Bearer abc123def456ghi789jkl0", "bearer token"),
        ('{"api_key": "9f86d081884c7d659a2feaa0c55ad015"}', "assigned key"),
        ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "assigned key"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7x9\n", "private key"),
    ],
)
def test_what_something_assigns_is_found(text: str, kind: str) -> None:
    assert [found.kind for found in find_secrets(text)] == [kind]


@pytest.mark.parametrize(
    "text",
    [
        "api_key = 'your_api_key_here'",
        "sk-xxxxxxxxxxxxxxxxxxxxxxxx",
        "AKIAXXXXXXXXXXXXXXXX",
        "a risk-averse-task-oriented-long-word",
        'password = "password123"',
        'password: "string"',
        "password = os.environ['DB_PASSWORD1']",
        "The password is incorrect.",
        "mongodb+srv://user:pass@cluster0.mongodb.net",
        "Generate a strong password.\nYour password is: rT8$jLpZ",
        "The token: abc. The secret: patience and 1 more thing.",
        "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
        "@app.route('/x')\ndef f(): pass",
        "logo@2x.png, git@github.com:a/b.git, lodash@4.17.21, foo @ bar.com",
        "3.14159265358979323846",
        "4111 1111 1111 1112",
        "12345678901234567890123",
        "x4111111111111111",
        "2 + 1234567890 = 1234567892",
        "ISBN 978-3-16-148410-0 of 2023-01-15 10:30:00",
        "GB82 WEST 1234 5698 7654 33",
        "000-12-3456 and 987-65-4321",
        "call 800-555-3535 now",
        "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12",
    ],
)
def test_what_only_looks_alike_is_left_alone(text: str) -> None:
    assert find_secrets(text) == []


@pytest.mark.parametrize(
    "value",
    [
        "alice@example.com",
        "bob@mail.example.org",
        "boss@company.com",
        "(555) 223-4567",
        "123-45-6789",
    ],
)
def test_what_is_reserved_for_examples_is_marked_as_such(value: str) -> None:
    [found] = find_secrets(f"Write to {value}.")
    assert found.example


def test_a_value_counts_once_and_a_key_that_is_assigned_is_one_secret() -> None:
    token = "ghp_" + _MIXED[:36]
    assert [found.kind for found in find_secrets(f"token={token}\ntoken={token}")] == [
        "GitHub token"
    ]


@given(st.text(st.characters(), max_size=300))
def test_any_text_is_survived_and_no_value_shown_whole(text: str) -> None:
    for found in find_secrets(text):
        assert len(found.shown.split("…")[0]) <= 4


@given(
    st.text("abc 1@.:/=-_+()\"'", max_size=200), st.sampled_from([v for _, v in SECRETS]), st.text()
)
def test_a_key_is_found_in_any_surroundings(before: str, key: str, after: str) -> None:
    text = f"{before} {key} {after}"
    assert any(key.startswith(found.shown.split("…")[0]) for found in find_secrets(text))


@pytest.mark.parametrize(
    "unit",
    [
        *("a", "1", "@", "a@a.", "sk-", " sk-", "eyJ", "4111 ", "password=", "://a:", "(+1 "),
        *("\ud800", "+12345678901234567890x ", "+1 2 3 4 5 6 7 8 9x", "AB12 CD34 EF56 789012 "),
    ],
)
def test_a_megabyte_of_one_thing_is_survived(unit: str) -> None:
    # A pattern that backtracks would not end within the patience of anyone.
    assert len(find_secrets(unit * (1_000_000 // len(unit)))) <= 100


def test_many_finds_are_a_hundred_at_most() -> None:
    text = " ".join(f"person{n}@mail{n}.net" for n in range(1_000))
    assert len(find_secrets(text)) == 100


def test_check_digits_decide_about_numbers() -> None:
    digits = random.Random(0)
    numbers = ["4" + "".join(str(digits.randrange(10)) for _ in range(15)) for _ in range(2_000)]
    assert 0.05 < sum(bool(find_secrets(number)) for number in numbers) / 2_000 < 0.15


def test_real_instructions_hold_none(shared_data: Path) -> None:
    """Looked through by hand: what these sets hold of addresses is made up."""
    for name in ("llama_factory/alpaca_en_demo.json", "rasbt/instruction-data.json"):
        rows = json.loads((shared_data / "instruct" / name).read_text("utf-8"))
        texts = ["\n".join((row["instruction"], row["input"], row["output"])) for row in rows]
        assert [f for text in texts for f in find_secrets(text) if not f.example] == []
