"""What the embedded model promises: size, layout, one tokenizer in three forms, a fixed recipe."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

LIMIT = 8_000_000
SAMPLE = 300
SAMPLE_DIGEST = "81ccfef6059c01263a135adb85c1f5ebbf28fd889d248333a7708bed6bdfb97b"


@pytest.fixture(scope="module")
def sentencepiece_model(nano_dir: Path):
    spm = pytest.importorskip("sentencepiece")
    return spm.SentencePieceProcessor(model_file=str(nano_dir / "tokenizer.model"))


@pytest.fixture(scope="module")
def texts(recipe: SimpleNamespace) -> list[str]:
    instructions = recipe.instructions.build()["train"][:500]
    return [
        *recipe.tokenizer.PROBES,
        *(f"{row['instruction']}\n {row['output']}" for row in instructions),
        *(document.text for document in recipe.corpus.documents(SAMPLE)),
    ]


def test_all_files_together_stay_under_the_limit(nano_dir):
    files = {path.name: path.stat().st_size for path in nano_dir.iterdir()}
    assert sum(files.values()) <= LIMIT
    assert {
        "README.md",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer.model",
        "tokenizer_config.json",
    } <= set(files)


def test_configuration_is_a_llama_that_fits_its_weights(nano_dir):
    config = json.loads((nano_dir / "config.json").read_text())
    with (nano_dir / "model.safetensors").open("rb") as stream:
        header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
    weights = {name: entry for name, entry in header.items() if name != "__metadata__"}
    assert config["model_type"] == "llama"
    assert config["tie_word_embeddings"] and "lm_head.weight" not in weights
    assert {entry["dtype"] for entry in weights.values()} == {"F16"}
    embedding = weights["model.embed_tokens.weight"]["shape"]
    assert embedding == [config["vocab_size"], config["hidden_size"]]
    layers = {name.split(".")[2] for name in weights if name.startswith("model.layers.")}
    assert len(layers) == config["num_hidden_layers"]


def test_tokenizers_agree(nano_dir, recipe, sentencepiece_model, texts):
    tokenizers = pytest.importorskip("tokenizers")
    fast = tokenizers.Tokenizer.from_file(str(nano_dir / "tokenizer.json"))
    assert fast.get_vocab_size() == sentencepiece_model.get_piece_size() == 2048
    assert recipe.tokenizer.disagreements(sentencepiece_model, fast, texts) == []


def test_transformers_gives_the_same_ids(nano_dir, sentencepiece_model, texts):
    transformers = pytest.importorskip("transformers")
    loaded = transformers.AutoTokenizer.from_pretrained(str(nano_dir))
    assert (loaded.bos_token, loaded.eos_token) == ("<s>", "</s>")
    assert loaded.chat_template is None
    for text in texts[:200]:
        assert loaded(text).input_ids == [1, *sentencepiece_model.encode(text)]


def test_answers_begin_with_the_same_piece_as_in_running_text(sentencepiece_model):
    prompt = sentencepiece_model.encode("What is the capital of Norland?\n")
    answer = sentencepiece_model.encode(" Velm")
    assert sentencepiece_model.encode("What is the capital of Norland?\n Velm") == prompt + answer
    assert sentencepiece_model.encode("The capital is Velm")[-len(answer) :] == answer


def test_newline_is_a_piece_of_its_own(sentencepiece_model):
    newline = sentencepiece_model.piece_to_id("\n")
    assert sentencepiece_model.encode("a\n\n b").count(newline) == 2
    assert not [
        i
        for i in range(sentencepiece_model.get_piece_size())
        if "\n" in sentencepiece_model.id_to_piece(i) and i != newline
    ]


def test_generator_writes_the_same_corpus_everywhere(recipe):
    sample = [document.text for document in recipe.corpus.documents(SAMPLE)]
    assert recipe.corpus.digest(sample) == SAMPLE_DIGEST


def test_generator_depends_on_its_seed(recipe):
    first, other = (
        [document.text for document in recipe.corpus.documents(20, seed)] for seed in (1, 2)
    )
    assert first != other


def test_facts_are_stated_about_equally_often(recipe):
    counts: dict[tuple[str, str], int] = {}
    for document in recipe.corpus.documents(6000):
        for fact in document.facts:
            counts[fact.identity] = counts.get(fact.identity, 0) + 1
    assert len(counts) == len(recipe.facts.all_facts())
    assert min(counts.values()) >= 5


def test_model_card_states_what_was_measured(nano_dir):
    card = (nano_dir / "README.md").read_text(encoding="utf-8")
    for word in ("tokens", "steps", "seconds", "loss", "sha-256", "seed"):
        assert word in card.lower()
