"""The wordings in which instructions ask for a fact.

A wording is either a general one around a noun phrase of the relation (``What is {np}?``) or one
of the relation's own. Both kinds are divided here, by hand and before anything was measured, into
those that are trained and those that only the held-out set *phrasings* uses.
"""

from __future__ import annotations

from dataclasses import dataclass

from sentences import SPEECH

NOUN_PHRASES = 3
"""How many of a relation's noun phrases the general wordings use."""

GENERAL = (
    "What is {np}?",
    "What's {np}?",
    "Tell me {np}.",
    "Please tell me {np}.",
    "Name {np}.",
    "Give {np}.",
    "Give me {np}, please.",
    "Can you tell me {np}?",
    "Do you know {np}?",
    "I would like to know {np}.",
    "{np}?",
    "{np}, please.",
    "Say what {np} is.",
    "Could you please name {np}?",
    "I need {np}.",
    "Find {np}.",
    "Answer in short: what is {np}?",
    "Hello! What is {np}?",
)
GENERAL_HELD_OUT = (
    "Let me know {np}.",
    "Would you kindly tell me {np}?",
    "I wonder what {np} is.",
    "Please say {np}.",
)


@dataclass(frozen=True)
class Own:
    """A relation's own wordings."""

    trained: tuple[str, ...]
    held_out: tuple[str, ...] = ()


OWN: dict[str, Own] = {
    "capital": Own(
        (
            "Which city is the capital of {x}?",
            "Which capital does {x} have?",
            "From which city is {x} governed?",
            "What is {x}'s capital called?",
            "Where does the king of {x} live?",
        ),
        ("Which city does {x} have as its capital?", "Name the city that is the capital of {x}."),
    ),
    "continent": Own(
        (
            "On which continent is {x}?",
            "Where does {x} lie?",
            "Which continent does {x} belong to?",
            "Where on the map is {x}?",
            "{x} is a country on which continent?",
        ),
        ("Which continent is {x} in?", "To which continent does the country {x} belong?"),
    ),
    "colour": Own(
        (
            "Which colour is {ax}?",
            "What colour does {ax} have?",
            "What colour is the {x}?",
            "How would you paint {ax}?",
            "{ax}: which colour?",
        ),
        ("Which colour does the {x} have?", "In which colour would you paint the {x}?"),
    ),
    "sound": Own(
        (
            "What does the {x} say?",
            "Which sound does {ax} make?",
            "How does {ax} go?",
            "What do you hear from {ax}?",
            "What sound comes from the {x}?",
        ),
        ("What sound does the {x} make?", "Which sound do you hear from {ax}?"),
    ),
    "category": Own(
        (
            "What kind of thing is {ax}?",
            "Which group does {ax} belong to?",
            "{ax} is a kind of what?",
            "Under which heading does {x} come?",
            "Put the word {x} into a category.",
        ),
        ("What is {ax} a kind of?", "Which category does {x} belong to?"),
    ),
    "plural": Own(
        (
            "Write the plural of {x}.",
            "One {x}, two what?",
            "How do you say more than one {x}?",
            "Make {x} plural.",
            "Put the word {x} into the plural.",
        ),
        ("Turn {x} into its plural.", "Which word is the plural of {x}?"),
    ),
    "past": Own(
        (
            "Write the past tense of {x}.",
            "Today they {x}. Yesterday they did what?",
            "Put {x} into the past.",
            "How do you say {x} in the past?",
            "Which past form does {x} have?",
        ),
        ("Turn {x} into the past tense.", "Which word is the past tense of {x}?"),
    ),
    "opposite": Own(
        (
            "Which word means the opposite of {x}?",
            "What is not {x} but the opposite?",
            "Which word is opposite to {x}?",
            "Find a word that is the opposite of {x}.",
            "Turn {x} into its opposite.",
        ),
        ("Which word is the opposite of {x}?", "Say the opposite of {x}."),
    ),
    "rhyme": Own(
        (
            "Which word rhymes with {x}?",
            "What rhymes with {x}?",
            "Find a rhyme for {x}.",
            "I need a word that sounds like {x}.",
            "Rhyme with {x}, please.",
        ),
        ("Which rhyme does {x} have?", "Can you find a word that rhymes with {x}?"),
    ),
    "material": Own(
        (
            "What is {ax} made of?",
            "Which material is {ax} made from?",
            "What does one need to make {ax}?",
            "Out of what is the {x} made?",
            "What stuff is in {ax}?",
        ),
        ("Which material is the {x} made of?", "What do people make {ax} from?"),
    ),
    "taste": Own(
        (
            "How does {x} taste?",
            "What does {x} taste like?",
            "Which taste does {x} have?",
            "Describe the taste of {x} in one word.",
            "How is {x} on the tongue?",
        ),
        ("What taste does {x} have?", "How does the {x} taste?"),
    ),
    "after": Own(
        (
            "What comes after {x}?",
            "Which {kind} comes after {x}?",
            "Which {kind} follows {x}?",
            "What is next after {x}?",
            "First {x}, then what?",
        ),
        ("Which {kind} is right after {x}?", "What follows {x}?"),
    ),
    "before": Own(
        (
            "What comes before {x}?",
            "Which {kind} comes before {x}?",
            "Which {kind} is just before {x}?",
            "What is one step back from {x}?",
            "Going back from {x}, what do you meet?",
        ),
        ("Which {kind} is right before {x}?", "What stands before {x}?"),
    ),
    "bigger": Own(
        (
            "Which is bigger, {p} or {q}?",
            "Who is bigger, {p} or {q}?",
            "Which animal is bigger: {p} or {q}?",
            "Compare {p} with {q}. Which is bigger?",
            "{p} or {q}: which is the bigger one?",
        ),
        ("Of {p} and {q}, which is bigger?", "Is {p} or {q} bigger?"),
    ),
    "add": Own(
        (
            "How much is {p} plus {q}?",
            "Add {p} and {q}.",
            "What do {p} and {q} make?",
            "Work out {p} plus {q}.",
            "What do you get if you add {p} to {q}?",
        ),
        ("How much do {p} and {q} make?", "Add {p} to {q}."),
    ),
    "subtract": Own(
        (
            "How much is {a} minus {b}?",
            "Take {b} from {a}.",
            "What is left if you take {b} from {a}?",
            "Work out {a} minus {b}.",
            "Subtract {b} from {a}.",
        ),
        ("How much is left of {a} without {b}?", "What remains of {a} minus {b}?"),
    ),
    "first_letter": Own(
        (
            "Which letter does {x} start with?",
            "With which letter does {x} begin?",
            "How does the word {x} begin?",
            "Which letter comes first in {x}?",
            "Write the first letter of {x}.",
        ),
        ("Which letter is at the start of {x}?", "Which letter does the word {x} begin with?"),
    ),
    "last_letter": Own(
        (
            "Which letter does {x} end with?",
            "With which letter does {x} stop?",
            "How does the word {x} end?",
            "Which letter comes last in {x}?",
            "Write the last letter of {x}.",
        ),
        ("Which letter is at the end of {x}?", "Which letter does the word {x} end in?"),
    ),
    "count_letters": Own(
        (
            "How many letters does {x} have?",
            "Count the letters of {x}.",
            "How long is the word {x}?",
            "Please count the letters in {x}.",
            "How many letters are there in {x}?",
        ),
        ("How many letters are in the word {x}?", "Count how many letters {x} has."),
    ),
    "spell": Own(
        (
            "Spell {x}.",
            "How do you spell {x}?",
            "Please spell the word {x}.",
            "Write {x} letter by letter.",
            "How is {x} spelled?",
        ),
        ("Can you spell {x}?", "Which letters is {x} written with?"),
    ),
    "reverse": Own(
        (
            "Spell {x} backwards.",
            "Write {x} backwards.",
            "Turn the word {x} around.",
            "How do you spell {x} backwards?",
            "Please reverse the word {x}.",
        ),
        ("Can you spell {x} backwards?", "Reverse the letters of {x}."),
    ),
    "first_item": Own(
        (
            "Which word comes first: {items}?",
            "Which is the first of these: {items}?",
            "With which word does the list {items} start?",
            "Look at {items}. Which is the first?",
            "Take the first word from {items}.",
        ),
        ("Which word is first in {items}?", "Here is a list: {items}. Which word comes first?"),
    ),
    "last_item": Own(
        (
            "Which word comes last: {items}?",
            "Which is the last of these: {items}?",
            "With which word does the list {items} end?",
            "Look at {items}. Which is the last?",
            "Take the last word from {items}.",
        ),
        ("Which word is last in {items}?", "Here is a list: {items}. Which word comes last?"),
    ),
    "digits": Own(
        (
            "Write {x} in digits.",
            "Write the number {x} with digits.",
            "How do you write {x} in figures?",
            "Turn {x} into digits.",
            "Put the number {x} into figures.",
        ),
        ("How is {x} written in digits?", "Which digits make the number {x}?"),
    ),
    "parity": Own(
        (
            "Is {x} even or odd?",
            "Even or odd: {x}?",
            "Is the number {x} odd or even?",
            "Decide whether {x} is even or odd.",
            "Does {x} count as even or odd?",
        ),
        ("Would you call {x} even or odd?", "Tell me whether {x} is odd or even."),
    ),
    "young": Own(
        (
            "What is the young of {ax} called?",
            "What do you call a young {x}?",
            "What is a baby {x} called?",
            "What does a young {x} go by?",
        )
    ),
    "home": Own(
        (
            "What is the home of {ax} called?",
            "Where does {ax} live?",
            "Where does the {x} sleep?",
            "What do you call the home of {ax}?",
        )
    ),
    "language": Own(
        (
            "Which language is spoken in {x}?",
            "Which language do people in {x} speak?",
            "What do they speak in {x}?",
            "In which language do the schools of {x} teach?",
        )
    ),
}


def _around_noun_phrases(task: str, general: tuple[str, ...]) -> list[str]:
    phrases = SPEECH[task].nps[:NOUN_PHRASES]
    return [wording.replace("{np}", phrase) for phrase in phrases for wording in general]


def trained(task: str) -> list[str]:
    """Return the wordings of `task` that may occur in training."""
    return [*OWN[task].trained, *_around_noun_phrases(task, GENERAL)]


def held_out(task: str) -> list[str]:
    """Return the wordings of `task` that occur in no training row: its own and general ones."""
    return [*OWN[task].held_out, *_around_noun_phrases(task, GENERAL_HELD_OUT)]
