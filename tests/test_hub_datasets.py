"""Datasets of the hub: their files come once, at one commit, and then need no network."""

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from edgetune import hub
from edgetune.config import SourceConfig
from edgetune.data import sources
from edgetune.data.sources import Row
from edgetune.errors import RequestError

NAME = "someone/some-rows"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = "abcdef0123456789abcdef0123456789abcdef01"
README = b"""---
configs:
- config_name: main
  data_files: [{split: train, path: "main/train-*"}, {split: test, path: main/test.jsonl}]
- config_name: more
  data_files: more.csv
---
"""


def row(text: str) -> bytes:
    return json.dumps({"text": text}).encode() + b"\n"


class Hub(ThreadingHTTPServer):
    """A stand-in for the hub: it answers for one dataset."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.files = {
            "README.md": README,
            "main/train-00000-of-00002.jsonl": row("one"),
            "main/train-00001-of-00002.jsonl": row("two"),
            "main/test.jsonl": row("three"),
            "more.csv": b"text\nfour\n",
            "loader.py": b"raise SystemExit",
        }
        self.revisions = {"main": COMMIT, "v1": OTHER}
        self.status = 200
        self.sent: list[str] = []
        self.asked: list[str] = []


class Answer(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.0"  # one request a connection: a stopped server is gone

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.server.status != 200:
            codes = {404: "RepoNotFound", 403: "GatedRepo"}
            self.reply(b"", self.server.status, {"X-Error-Code": codes[self.server.status]})
        elif self.path.startswith(f"/api/datasets/{NAME}"):
            revision = self.path.partition("/revision/")[2].partition("?")[0] or "main"
            commit = self.server.revisions.get(revision, revision)
            if commit not in self.server.revisions.values():
                self.reply(b"", 404, {"X-Error-Code": "RevisionNotFound"})
                return
            siblings = [{"rfilename": name} for name in self.server.files]
            self.reply(json.dumps({"id": NAME, "sha": commit, "siblings": siblings}).encode())
        else:
            commit, _, name = self.path.removeprefix(f"/datasets/{NAME}/resolve/").partition("/")
            commit = self.server.revisions.get(commit, commit)
            content = self.server.files[name]
            if self.command == "GET":
                self.server.sent.append(name)
            tag = hashlib.sha1(content).hexdigest()
            self.reply(content, 200, {"ETag": tag, "X-Repo-Commit": commit})

    do_HEAD = do_GET

    def reply(self, body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    from huggingface_hub import constants

    with Hub() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setattr(
            constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            constants.ENDPOINT + "/{repo_id}/resolve/{revision}/{filename}",
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        yield server
        server.shutdown()


def stop(server: Hub) -> None:
    server.shutdown()
    server.server_close()


def texts(files: tuple[Path, ...]) -> list[str]:
    items = [item for file in files for item in sources.read_rows(file)]
    return [item.value["text"] for item in items if isinstance(item, Row)]


def test_only_the_files_that_are_asked_for_come(server: Hub) -> None:
    found = sources.find(SourceConfig(path=NAME, subset="main"))
    assert texts(found.files) == ["one", "two"]
    assert found.revision == COMMIT
    assert sorted(set(server.sent)) == [
        "README.md",
        "main/train-00000-of-00002.jsonl",
        "main/train-00001-of-00002.jsonl",
    ]
    assert texts(hub.resolve_dataset(NAME, subset="main", split="test").files) == ["three"]
    assert texts(hub.resolve_dataset(NAME, subset="more").files) == ["four"]


def test_what_came_once_needs_no_network(server: Hub) -> None:
    first = hub.resolve_dataset(NAME, subset="main")
    stop(server)
    assert hub.resolve_dataset(NAME, subset="main") == first
    # Another split is another request; nothing says that what is here is all of it.
    with pytest.raises(RequestError, match="could not be downloaded"):
        hub.resolve_dataset(NAME, subset="main", split="test")


def test_a_file_lost_from_the_cache_is_fetched_again(server: Hub) -> None:
    first = hub.resolve_dataset(NAME, subset="main")
    first.files[1].resolve().unlink()
    assert texts(hub.resolve_dataset(NAME, subset="main").files) == ["one", "two"]


def test_a_moved_branch_does_not_change_what_was_fetched(server: Hub) -> None:
    first = hub.resolve_dataset(NAME, subset="main")
    server.revisions["main"] = OTHER
    server.files["main/train-00000-of-00002.jsonl"] = row("changed")
    assert hub.resolve_dataset(NAME, subset="main") == first
    # So does its commit, with which a run goes on.
    stop(server)
    assert hub.resolve_dataset(NAME, COMMIT, "main") == first


def test_a_revision_becomes_a_commit(server: Hub) -> None:
    assert hub.resolve_dataset(NAME, "v1", "more").revision == OTHER
    with pytest.raises(RequestError, match="has no such revision"):
        hub.resolve_dataset(NAME, "v2", "more")


def test_files_that_another_program_fetched_are_taken_without_a_network(server: Hub) -> None:
    from huggingface_hub import hf_hub_download

    for name in ["README.md", "main/test.jsonl", "main/train-00001-of-00002.jsonl"]:
        hf_hub_download(NAME, name, repo_type="dataset")
    stop(server)
    dataset = hub.resolve_dataset(NAME, subset="main", split="test")
    assert texts(dataset.files) == ["three"]
    assert dataset.revision == COMMIT
    assert "there is no network" in dataset.notes[-1]
    with pytest.raises(RequestError, match="could not be downloaded"):  # a part is missing
        hub.resolve_dataset(NAME, subset="main")


def test_no_network_is_one_clear_sentence(server: Hub) -> None:
    stop(server)
    with pytest.raises(RequestError) as refusal:
        sources.find(SourceConfig(path=f"hf:{NAME}"))
    assert f"The dataset `{NAME}` is not on this machine" in refusal.value.message
    assert "\n" not in str(refusal.value)
    assert "Errno" not in str(refusal.value)


@pytest.mark.parametrize(("status", "words"), [(404, "no such dataset"), (403, "agreement")])
def test_the_hubs_refusal_is_explained(server: Hub, status: int, words: str) -> None:
    server.status = status
    with pytest.raises(RequestError, match=words) as refusal:
        hub.resolve_dataset(NAME)
    assert "model" not in str(refusal.value)


def test_several_subsets_are_listed(server: Hub) -> None:
    with pytest.raises(RequestError, match="several subsets: `main`, `more`"):
        hub.resolve_dataset(NAME)


@pytest.mark.parametrize("name", ["hf:", "hf:no-owner", "hf:../x", "hf:a/b/c"])
def test_a_name_that_cannot_be_one_is_refused(name: str) -> None:
    with pytest.raises(RequestError, match="is not the name of a Hugging Face dataset"):
        sources.find(SourceConfig(path=name))
