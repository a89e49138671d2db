"""Which files of a dataset are which split, by its README or by their names."""

import pytest

from edgetune.data.readers import layout
from edgetune.errors import RequestError


def hub(names: list[str], readme: str = "", subset: str = "", split: str = "train") -> list[str]:
    return layout.choose_hub(sorted(names), readme, subset, split, "o/n").files


@pytest.mark.parametrize(
    ("names", "split", "expected"),
    [
        (["rows.jsonl", "README.md", ".gitattributes"], "train", ["rows.jsonl"]),
        (["train.csv", "test.csv"], "train", ["train.csv"]),
        (["train.csv", "test.csv"], "test", ["test.csv"]),
        (["x-train.json", "x_dev.json"], "validation", ["x_dev.json"]),
        (["data/train/a.json", "data/val/b.json"], "validation", ["data/val/b.json"]),
        (["data/train/a.json", "data/val/b.json"], "valid", ["data/val/b.json"]),
        (["evaluation/a.json", "train/b.json"], "test", ["evaluation/a.json"]),
        (
            ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002-9f.parquet"],
            "train",
            ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002-9f.parquet"],
        ),
        (
            ["data/train_sft-00000-of-00001.parquet", "data/test_sft-00000-of-00001.parquet"],
            "train_sft",
            ["data/train_sft-00000-of-00001.parquet"],
        ),
        (["a.json.gz", "b.json.zst", "c.png"], "train", ["a.json.gz", "b.json.zst"]),
        # The same rows in another format are not read twice.
        (["a.parquet", "b.parquet", "all.jsonl"], "train", ["a.parquet", "b.parquet"]),
        # A word within a word is no split.
        (["contest.json", "latest.json"], "train", ["contest.json", "latest.json"]),
    ],
)
def test_conventional_names_say_the_split(
    names: list[str], split: str, expected: list[str]
) -> None:
    assert hub(names, split=split) == expected


README = """---
license: mit
configs:
- config_name: main
  data_files:
  - split: train
    path: main/train-*
  - split: test
    path: ["main/test-*"]
- config_name: socratic
  data_files:
    train: "socratic/**/*.jsonl"
- config_name: folder
  data_dir: other
- config_name: all
  data_files: "**/*.parquet"
---
# A dataset
"""
FILES = [
    "main/train-00000-of-00001.parquet",
    "main/test-00000-of-00001.parquet",
    "main/deep/train-x.parquet",
    "socratic/a/x.jsonl",
    "socratic/y.jsonl",
    "other/train.csv",
    "other/test.csv",
]


@pytest.mark.parametrize(
    ("subset", "split", "expected"),
    [
        ("main", "train", ["main/train-00000-of-00001.parquet"]),
        ("main", "test", ["main/test-00000-of-00001.parquet"]),
        ("socratic", "train", ["socratic/a/x.jsonl", "socratic/y.jsonl"]),
        ("folder", "test", ["other/test.csv"]),
        ("all", "train", sorted(FILES)[:3]),
    ],
)
def test_the_readme_says_the_files(subset: str, split: str, expected: list[str]) -> None:
    assert sorted(hub(FILES, README, subset, split)) == sorted(expected)


def test_several_subsets_are_listed_when_none_is_named() -> None:
    with pytest.raises(RequestError) as refusal:
        hub(FILES, README)
    assert "`main`, `socratic`, `folder`, `all`" in refusal.value.message
    with pytest.raises(RequestError, match="no subset `mian`") as refusal:
        hub(FILES, README, "mian")
    assert "`main`" in refusal.value.hint
    with pytest.raises(RequestError, match="no split `dev`") as refusal:
        hub(FILES, README, "main", "dev")
    assert "`train`, `test`" in refusal.value.hint


def test_a_default_subset_needs_no_name() -> None:
    assert hub(FILES, README.replace("socratic\n", "default\n")) == [
        "socratic/a/x.jsonl",
        "socratic/y.jsonl",
    ]
    marked = README.replace("config_name: folder", "config_name: folder\n  default: true")
    assert hub(FILES, marked) == ["other/train.csv"]


def test_without_a_readme_a_subset_is_a_folder_or_a_file() -> None:
    assert hub(FILES, "", "main", "test") == ["main/test-00000-of-00001.parquet"]
    assert hub(["en.jsonl", "fr.jsonl"], "", "fr") == ["fr.jsonl"]
    with pytest.raises(RequestError, match="no subset `de`"):
        hub(["en.jsonl", "fr.jsonl"], "", "de")


@pytest.mark.parametrize("matter", ["configs: [", "configs: 3", "- 1", "\t", "configs: [1, {}]"])
def test_a_readme_that_says_nothing_is_passed_over(matter: str) -> None:
    assert hub(["a.json"], f"---\n{matter}\n---\n") == ["a.json"]


def test_a_dataset_without_rows_is_explained() -> None:
    with pytest.raises(RequestError, match="made by a program") as refusal:
        hub(["README.md", "loader.py"])
    assert "refs/convert/parquet" in refusal.value.hint
    with pytest.raises(RequestError, match=r"no file with rows; it has a\.arrow"):
        hub(["a.arrow"])


def test_missing_parts_are_noticed() -> None:
    assert layout.is_complete(["a.json", "train-00000-of-00002.x", "train-00001-of-00002.x"])
    assert not layout.is_complete(["a.json", "train-00001-of-00002.x"])
