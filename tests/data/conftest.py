"""Tokenizers of both kinds made in-process, and the real ones where they are at hand."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend

from edgetune.data.tokenizer import Tokenizer

# A busy machine is slow, not wrong.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

CHATML = (
    "{% for message in messages %}"
    "<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="session")
def spm(tiny_model: Path) -> Tokenizer:
    """The tiny model's tokenizer: SentencePiece kind with a dummy prefix, no chat template."""
    return Tokenizer.from_directory(tiny_model)


@pytest.fixture(scope="session")
def chatml_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a byte-level tokenizer and a ChatML template."""
    folder = tmp_path_factory.mktemp("models") / "chatml"
    folder.mkdir()
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(["the quick brown fox jumps over the lazy dog"] * 3, trainer)
    names = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    backend.add_special_tokens([AddedToken(n, special=True, normalized=False) for n in names])
    backend.save(str(folder / "tokenizer.json"))
    config = {"eos_token": "<|im_end|>", "bos_token": None, "chat_template": CHATML}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def chatml(chatml_dir: Path) -> Tokenizer:
    return Tokenizer.from_directory(chatml_dir)


_REAL = ["qwen2.5", "phi3_mini", "minimind", "smollm3", "llama2"]


@pytest.fixture(scope="session", params=_REAL)
def real_dir(request: pytest.FixtureRequest, shared_data: Path) -> Path:
    """One real tokenizer after the other."""
    folder: Path = shared_data / "tokenizers" / request.param
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    return folder


@pytest.fixture(scope="session")
def real(real_dir: Path) -> Tokenizer:
    return Tokenizer.from_directory(real_dir)
