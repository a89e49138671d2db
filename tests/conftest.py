"""What many tests share: a tiny model made in-process, the embedded model, optional real data."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from edgetune import paths

_TEXT = """The quick brown fox jumps over the lazy dog. What colour is the sky? The sky is blue.
Name three primary colours. Red, yellow and blue. How many legs has a spider? Eight legs.
A small boat sails on the wide river. The old man gave the red apple to the girl, and she smiled.
Translate the word house into French. The word is maison. Count from one to ten, please."""


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real models, tokenizers and datasets beside the checkout, where there are any."""
    beside = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("EDGETUNE_TEST_DATA") or beside)
    if not folder.is_dir():
        pytest.skip("no folder with real test data (EDGETUNE_TEST_DATA)")
    return folder


@pytest.fixture(scope="session")
def nano() -> Path:
    """The embedded base model."""
    assert (paths.NANO_MODEL / "model.safetensors").is_file()
    return paths.NANO_MODEL


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests never read or write the user's own settings and run index."""
    monkeypatch.setenv("EDGETUNE_HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.delenv("EDGETUNE_RUNS", raising=False)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random 2-layer Llama (d=64, 8 heads, 4 KV heads, untied) with a byte-fallback BPE
    tokenizer of the SentencePiece kind; no chat template."""
    folder = tmp_path_factory.mktemp("models") / "tiny-llama"
    folder.mkdir()
    vocab_size = _write_tokenizer(folder)
    write_llama(folder, vocab_size=vocab_size)
    return folder


@pytest.fixture
def rows_file(tmp_path: Path) -> Path:
    """Fifty-five small alpaca rows."""
    words = ["red", "blue", "green", "one", "two", "three", "dog", "cat", "fox", "sky", "river"]
    rows = [
        {"instruction": f"Say {a} and then {b}.", "input": "", "output": f"{a} {b}"}
        for a in words
        for b in words[:5]
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def _write_tokenizer(folder: Path) -> int:
    from tokenizers import (
        AddedToken,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        trainers,
    )

    normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizer
    # SentencePiece never learns a piece that runs over a word's beginning.
    trained.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    trained.train_from_iterator(
        _TEXT.splitlines(), trainers.BpeTrainer(vocab_size=160, show_progress=False)
    )
    model = json.loads(trained.to_str())["model"]
    first = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces = sorted(model["vocab"], key=model["vocab"].get)
    vocab = {piece: index for index, piece in enumerate([*first, *pieces])}
    tokenizer = Tokenizer(
        models.BPE(
            vocab=vocab,
            merges=[tuple(merge) for merge in model["merges"]],
            unk_token="<unk>",
            byte_fallback=True,
            fuse_unk=True,
        )
    )
    tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.add_special_tokens(
        [AddedToken(text, special=True, normalized=False) for text in first[:3]]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "LlamaTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return len(vocab)


def write_llama(
    folder: Path,
    *,
    vocab_size: int,
    hidden: int = 64,
    intermediate: int = 96,
    layers: int = 2,
    heads: int = 8,
    kv_heads: int = 4,
    tied: bool = False,
    extra: dict[str, object] | None = None,
    seed: int = 0,
) -> None:
    """Write config.json and model.safetensors of a random Llama, float32."""
    from safetensors.numpy import save_file

    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "vocab_size": vocab_size,
        "max_position_embeddings": 256,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": tied,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "torch_dtype": "float32",
        **(extra or {}),
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    random = np.random.default_rng(seed)
    head_dim = hidden // heads

    def matrix(rows: int, columns: int) -> np.ndarray:
        return (random.standard_normal((rows, columns)) / np.sqrt(columns)).astype(np.float32)

    tensors = {"model.embed_tokens.weight": matrix(vocab_size, hidden) * 4}
    for index in range(layers):
        prefix = f"model.layers.{index}."
        attention, mlp = f"{prefix}self_attn.", f"{prefix}mlp."
        tensors |= {
            f"{attention}q_proj.weight": matrix(heads * head_dim, hidden),
            f"{attention}k_proj.weight": matrix(kv_heads * head_dim, hidden),
            f"{attention}v_proj.weight": matrix(kv_heads * head_dim, hidden),
            f"{attention}o_proj.weight": matrix(hidden, heads * head_dim),
            f"{mlp}gate_proj.weight": matrix(intermediate, hidden),
            f"{mlp}up_proj.weight": matrix(intermediate, hidden),
            f"{mlp}down_proj.weight": matrix(hidden, intermediate),
            f"{prefix}input_layernorm.weight": np.ones(hidden, np.float32),
            f"{prefix}post_attention_layernorm.weight": np.ones(hidden, np.float32),
        }
    tensors["model.norm.weight"] = np.ones(hidden, np.float32)
    if not tied:
        tensors["lm_head.weight"] = matrix(vocab_size, hidden)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
