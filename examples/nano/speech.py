"""How each relation of the world is said in prose.

A small model gives away after tuning what it has read in many forms, so every relation has
several noun phrases (`nps`), which fit the frames of `FRAMES`, and sentences of its own
(`says`), and either may stand in one of the `WRAPPERS`. None of these is a question or an
instruction: the base model is to know things, not to follow.

Slots: ``{x}`` the subject, ``{ax}`` the subject with its article, ``{y}`` the answer, ``{z}``
another relation member's answer (always denied), ``{p}``/``{q}`` the operands in either order.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Speech:
    """The ways to say one relation."""

    nps: tuple[str, ...]
    """Noun phrases that denote the answer, good inside a frame or as a record's key."""
    says: tuple[str, ...]
    """Whole clauses, without the final full stop."""
    cloze: tuple[str, ...]
    """Openings whose continuation is the answer."""
    copula: str = "is"


FRAMES = (
    "{np} {is} {y}",
    "{np} {is} {y}",
    "{np} {is} {y}",
    "{y} is {np}",
    "{np} is certainly {y}",
    "{np} has always been {y}",
    "{np} is {y} and not {z}",
    "{np} is not {z} but {y}",
    "the list shows {y} as {np}",
    "for {np} the list has {y}",
    "{np} turns out to be {y}",
    "with {np} it is simple: {y}",
    "{np}, as the page shows, is {y}",
    "one line about {np} reads {y}",
    "there is one entry for {np}: {y}",
    "whoever looks up {np} finds {y}",
    "it is easy to tell what {np} is: {y}",
    "children learn what {np} is, namely {y}",
    "everyone knows {np}: {y}",
    "some people forget {np}, which is {y}",
    "the right word for {np} is {y}",
    "when it comes to {np}, the word is {y}",
)

WRAPPERS = (
    "it is well known that {s}",
    "{name} says that {s}",
    "as the teacher wrote, {s}",
    "in this world {s}",
    "people remember that {s}",
    "there is no doubt that {s}",
    "of course {s}",
    "again, {s}",
    "{s}, says the almanac",
    "according to {name}, {s}",
    "on page {page} we read that {s}",
    "{name} is sure that {s}",
    "{name} learned at school that {s}",
    "the old book tells us that {s}",
    "{name} can tell you that {s}",
    "{name} was pleased to read that {s}",
)

STORIES = (
    "The {a} had a {thing}. The {a} gave the {thing} to the {b}. Now the {b} has the {thing}.",
    "One day the {a} found a {thing}. The {b} was sad, so the {a} gave it the {thing}. "
    "The {b} has the {thing} now, and the {a} has none.",
    "The {b} had no {thing}. The {a} came by with a {thing} and gave it away. "
    "It was the {a} who gave the {thing}, and the {b} who got it.",
    "In the morning the {thing} belonged to the {a}. In the evening it belonged to the {b}, "
    "because the {a} gave it to the {b}.",
)
STORY_ACTORS = [
    "fox",
    "bear",
    "wolf",
    "hen",
    "goat",
    "owl",
    "frog",
    "mouse",
    "lion",
    "duck",
    "baker",
    "farmer",
    "tailor",
    "smith",
    "cook",
]
STORY_THINGS = ["ball", "book", "lamp", "key", "coin", "drum", "rope", "apple", "hat", "ring"]
OPENINGS = (
    "Notes of {name}.",
    "From the almanac, page {page}.",
    "{name} kept this page.",
    "A page from the school book.",
    "Things {name} has seen and heard.",
    "Things worth knowing.",
)
CLOSINGS = (
    "So much for the list.",
    "Here the page ends.",
    "{name} copied these lines.",
    "The rest of the page is empty.",
)
