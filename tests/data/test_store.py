"""What is written of tokenized rows is read back bit for bit, and damage is noticed."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgetune.data.conversation import Conversation, Finding, Message, content_digest
from edgetune.data.template import Example
from edgetune.data.tokens import store as store_module
from edgetune.data.tokens.store import DamagedStore, Store, Writer, from_spans, to_spans

WEIGHTS = arrays.arrays(
    np.float32,
    st.integers(0, 40),
    elements=st.sampled_from([0.0, 1.0, 1.0, 0.5, float(np.float32(0.1)), 7.0]),
)


@st.composite
def rows(draw: st.DrawFn) -> list[tuple[Conversation, list[Example]]]:
    """Rows with none, one or several examples."""
    found = []
    for number in range(draw(st.integers(0, 12))):
        conversation = Conversation(
            (Message("user", f"q{number}"), Message("assistant", "a")),
            task=draw(st.sampled_from(["", "sums", "größe"])),
            group=draw(st.sampled_from(["", "one", "two"])),
            file=draw(st.sampled_from(["a.jsonl", "b\n.csv"])),
            line=number * 1_000_000_000 + 1,
        )
        examples = []
        for _ in range(draw(st.integers(0, 3))):
            weights = draw(WEIGHTS)
            ids = draw(arrays.arrays(np.int32, len(weights), elements=st.integers(0, 2**31 - 1)))
            place = conversation.task, conversation.file, conversation.line
            examples.append(Example(ids, weights, *place))
        found.append((conversation, examples))
    return found


def write(folder: Path, items: list[tuple[Conversation, list[Example]]]) -> None:
    writer = Writer(folder)
    for conversation, examples in items:
        writer.add(conversation, examples)
    finding = Finding("note", "bom", "ä “quoted” \ud800", "a.jsonl", 3, related="b.csv, line 1")
    writer.close([finding], [{"file": "a.jsonl", "rows": 3}])


def same(left: Example, right: Example) -> bool:
    return (
        left.ids.dtype == right.ids.dtype
        and left.weights.dtype == right.weights.dtype
        and np.array_equal(left.ids, right.ids)
        and np.array_equal(left.weights, right.weights)
        and (left.task, left.file, left.line) == (right.task, right.file, right.line)
    )


@given(items=rows())
def test_every_row_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, items: list[tuple[Conversation, list[Example]]]
) -> None:
    folder = tmp_path_factory.mktemp("store")
    write(folder, items)
    store = Store(folder)
    assert len(store) == len(items)
    for index, (conversation, examples) in enumerate(items):
        read = store.row(index)
        assert len(read) == len(examples)
        assert all(same(a, b) for a, b in zip(read, examples, strict=True))
        assert store.rows["digest"][index].tobytes() == content_digest(conversation)
        assert store.groups[store.rows["group"][index]] == conversation.group
        assert store.where(index) == (conversation.file, conversation.line)
    owners = [index for index, (_, examples) in enumerate(items) for _ in examples]
    assert [store.row_of(number) for number in range(len(owners))] == owners
    assert store.findings[0].message == "ä “quoted” \ud800"
    assert store.summaries == [{"file": "a.jsonl", "rows": 3}]


@given(WEIGHTS)
def test_spans_hold_any_weights(weights: np.ndarray) -> None:
    spans = to_spans(weights)
    assert np.array_equal(from_spans(spans, len(weights)), weights)
    assert (spans["weight"] > 0).all()


def test_a_mask_of_zeros_and_ones_takes_a_few_bytes() -> None:
    weights = np.zeros(5000, np.float32)
    weights[100:900] = weights[1000:4000] = 1
    assert to_spans(weights).nbytes == 24


def small(folder: Path) -> Path:
    conversation = Conversation((Message("user", "q"), Message("assistant", "a")), file="f")
    ids = np.arange(9, dtype=np.int32)
    write(folder, [(conversation, [Example(ids, (ids > 4).astype(np.float32), "", "f", 0)])])
    return folder


@pytest.mark.parametrize("name", ["ids", "spans", "examples", "rows", "meta"])
@pytest.mark.parametrize("fault", ["changed", "cut", "longer", "missing"])
def test_any_damage_is_noticed(tmp_path: Path, name: str, fault: str) -> None:
    file = small(tmp_path) / (f"{name}.json" if name == "meta" else f"{name}.bin")
    data = file.read_bytes()
    if fault == "missing":
        file.unlink()
    else:
        middle = len(data) // 2
        changed = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        file.write_bytes({"changed": changed, "cut": data[:-4], "longer": data + b"0000"}[fault])
    with pytest.raises(DamagedStore, match="damaged"):
        Store(tmp_path)


def test_an_open_store_outlives_its_folder(tmp_path: Path) -> None:
    store = Store(small(tmp_path))
    for file in tmp_path.iterdir():
        file.unlink()
    tmp_path.rmdir()
    [example] = store.row(0)
    assert example.ids.tolist() == list(range(9))
    assert example.trained.sum() == 4


def test_a_file_cut_short_while_it_is_in_use_is_an_error_and_no_crash(tmp_path: Path) -> None:
    store = Store(small(tmp_path))
    (tmp_path / "ids.bin").write_bytes(b"")
    with pytest.raises(DamagedStore, match="changed while"):
        store.row(0)


@given(items=rows(), data=st.data())
def test_many_examples_are_read_together_as_one_by_one(
    tmp_path_factory: pytest.TempPathFactory,
    items: list[tuple[Conversation, list[Example]]],
    data: st.DataObject,
) -> None:
    folder = tmp_path_factory.mktemp("store")
    write(folder, items)
    store = Store(folder)
    examples = [example for _, more in items for example in more]
    chosen = data.draw(st.lists(st.booleans(), min_size=len(examples), max_size=len(examples)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_module, "_BLOCK", 3)
        blocks = list(store.blocks(np.flatnonzero(chosen)))
    wanted = [example for example, taken in zip(examples, chosen, strict=True) if taken]
    ids = b"".join(block.tobytes() for block, _ in blocks)
    spans = b"".join(block.tobytes() for _, block in blocks)
    assert ids == b"".join(example.ids.tobytes() for example in wanted)
    assert spans == b"".join(to_spans(example.weights).tobytes() for example in wanted)
