"""Equal rows of which one says that the answer is desirable and another that it is not."""

from collections.abc import Iterable, Iterator

from edgetune.data.conversation import Conversation, Finding, content_digest
from edgetune.data.reading import FileSummary


def contradictions(
    items: Iterable[Conversation | Finding | FileSummary],
) -> Iterator[Conversation | Finding | FileSummary]:
    """``items``, and before each conversation that contradicts an earlier one a finding on it.

    Only of rows with a label something is remembered.
    """
    known: dict[tuple[bytes, bool], str] = {}
    for item in items:
        if isinstance(item, Conversation) and item.label is not None:
            digest = content_digest(item)
            where = f"{item.file}, line {item.line}"
            known.setdefault((digest, item.label), where)
            if other := known.get((digest, not item.label)):
                message = "an equal row says the opposite of whether the answer is desirable"
                yield Finding(
                    "warning", "contradiction", message, item.file, item.line, related=other
                )
        yield item
