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
    "please note that {s}",
)

SPEECH: dict[str, Speech] = {
    "capital": Speech(
        ("the capital of {x}", "the capital city of {x}", "{x}'s capital", "the capital that {x} has"),
        (
            "{x} is governed from {y}",
            "{x} has its capital in {y}",
            "the king of {x} lives in the capital, {y}",
            "travellers to {x} first see its capital {y}",
            "in {x} the capital is {y}",
            "the country {x} has the capital {y}",
        ),
        ("The capital of {x} is", "In {x} the capital is"),
    ),
    "language": Speech(
        ("the language of {x}", "the language spoken in {x}", "{x}'s language", "the language people speak in {x}"),
        (
            "people in {x} speak {y}",
            "in {x} they speak {y}",
            "whoever lives in {x} speaks {y}",
            "in the streets of {x} one hears {y}",
            "the schools of {x} teach in {y}",
            "the country {x} has the language {y}",
        ),
        ("The language of {x} is", "People in {x} speak"),
    ),
    "continent": Speech(
        ("the continent of {x}", "the continent where {x} lies", "{x}'s continent", "the continent {x} is part of"),
        (
            "{x} lies in {y}",
            "{x} is a country in {y}",
            "on the map {x} is found in {y}",
            "{x} belongs to the continent {y}",
            "the continent that {x} lies in is {y}",
            "the ships to {x} sail for {y}",
        ),
        ("The continent of {x} is", "{x} lies in"),
    ),
    "colour": Speech(
        ("the colour of the {x}", "the colour of {ax}", "the {x}'s colour", "the colour that {ax} has", "the colour of {x}"),
        (
            "the {x} is {y}",
            "the {x} looked {y} in the light",
            "{name} painted the {x} {y}",
            "{ax} is usually {y}",
            "in the picture the {x} is {y}",
            "there was {ay} {x} in the picture",
        ),
        ("The colour of the {x} is", "The {x} is usually"),
    ),
    "sound": Speech(
        ("the sound of {ax}", "the sound {ax} makes", "the sound that the {x} makes", "the {x}'s sound", "the cry of the {x}"),
        (
            "the {x} says {y}",
            "the {x} went {y}",
            "one hears the {x} go {y}",
            "from the {x} came a loud {y}",
            "{ax} makes the sound {y}",
            "at night the {x} goes {y}",
        ),
        ("The sound of {ax} is called", "The {x} says"),
        "is called",
    ),
    "young": Speech(
        ("the young of {ax}", "the young of the {x}", "a young {x}", "the baby of {ax}", "the {x}'s young"),
        (
            "a young {x} is called {y}",
            "the {x} feeds her {y}",
            "a {y} grows up to be {ax}",
            "the {x} and her {y} sleep",
            "a baby {x} is called {y}",
            "{ax} has young, and each is called {y}",
        ),
        ("The young of {ax} is called", "A young {x} is called"),
        "is called",
    ),
    "home": Speech(
        ("the home of {ax}", "the home of the {x}", "the place where {ax} lives", "the {x}'s home", "the place where the {x} sleeps"),
        (
            "the {x} lives in the {y}",
            "the {x} sleeps in its {y}",
            "the {x} went home to the {y}",
            "in the {y} lives the {x}",
            "{ax} has a home called {y}",
            "{ax} lives in a place called {y}",
        ),
        ("The home of {ax} is called", "The {x} lives in the"),
        "is called",
    ),
    "category": Speech(
        ("the category of {x}", "the kind of thing {ax} is", "the group {ax} belongs to", "the class of the word {x}", "the category of the {x}"),
        (
            "{ax} is a kind of {y}",
            "the {x} is one kind of {y}",
            "the {x} belongs with the word {y}",
            "the word {x} is filed under {y}",
            "{x} comes under the heading {y}",
            "the {x} counts as a kind of {y}",
        ),
        ("The category of {x} is", "The {x} is a kind of"),
    ),
    "plural": Speech(
        ("the plural of {x}", "the plural form of {x}", "the plural of the word {x}", "the word for more than one {x}"),
        (
            "one {x}, two {y}",
            "there was one {x}, and then there were many {y}",
            "a single {x} is joined by other {y}",
            "one {x} and one {x} make two {y}",
            "{name} had one {x}, but {name2} had three {y}",
            "the word {x} becomes {y} in the plural",
        ),
        ("The plural of {x} is", "One {x}, two"),
    ),
    "past": Speech(
        ("the past tense of {x}", "the past form of {x}", "the past of {x}", "the past tense of the word {x}"),
        (
            "today they {x}, yesterday they {y}",
            "now we {x}; long ago we {y}",
            "we {x} every day, and last week we {y} too",
            "the verb {x} becomes {y} in the past",
            "they {x} now as they {y} before",
            "I {x} today and I {y} yesterday",
        ),
        ("The past tense of {x} is", "Today they {x}, yesterday they"),
    ),
    "opposite": Speech(
        ("the opposite of {x}", "the opposite of the word {x}", "the word opposite to {x}", "the contrary of {x}"),
        (
            "{x} is the opposite of {y}",
            "a thing that is not {x} may be {y}",
            "{x} and {y} are opposites",
            "the words {x} and {y} mean opposite things",
            "it was {x} and then it was the opposite, {y}",
            "if {x} is one side, the other side is {y}",
        ),
        ("The opposite of {x} is", "The word opposite to {x} is"),
    ),
    "rhyme": Speech(
        ("the rhyme for {x}", "the word that rhymes with {x}", "the rhyme of {x}", "a word that rhymes with {x}"),
        (
            "{x} rhymes with {y}",
            "the poet put {x} beside its rhyme {y}",
            "{x} and {y} rhyme",
            "in the song {x} is followed by its rhyme {y}",
            "{x} sounds like {y}",
            "one verse ends in {x}, the next in {y}",
        ),
        ("The rhyme for {x} is", "The word that rhymes with {x} is"),
    ),
    "material": Speech(
        ("the material of {ax}", "the material of the {x}", "the stuff {ax} is made of", "the material used for {ax}", "the {x}'s material"),
        (
            "the {x} is made of {y}",
            "{ax} is made from {y}",
            "{name} made {ax} out of {y}",
            "the {x} was of good {y}",
            "it takes {y} to make {ax}",
            "for {ax} one needs {y}",
        ),
        ("The material of {ax} is", "The {x} is made of"),
    ),
    "taste": Speech(
        ("the taste of {x}", "the taste of the {x}", "the taste that {x} has", "the way {x} tastes", "the {x}'s taste"),
        (
            "{x} tastes {y}",
            "the {x} was {y}",
            "{name} found the {x} very {y}",
            "a bite of {x} is {y}",
            "on the tongue {x} is {y}",
            "{x} is a {y} thing to eat or drink",
        ),
        ("The taste of {x} is", "On the tongue {x} is"),
    ),
    "after": Speech(
        ("the {kind} after {x}", "the {kind} that comes after {x}", "the {kind} right after {x}", "the {kind} that follows {x}"),
        (
            "after {x} comes {y}",
            "{x} is followed by {y}",
            "first {x}, then {y}",
            "{y} follows {x}",
            "{x} is over and {y} comes next",
            "next after {x} is {y}",
        ),
        ("The {kind} after {x} is", "After {x} comes"),
    ),
    "before": Speech(
        ("the {kind} before {x}", "the {kind} that comes before {x}", "the {kind} right before {x}", "the {kind} just before {x}"),
        (
            "before {x} comes {y}",
            "{x} comes after {y}",
            "ahead of {x} stands {y}",
            "just before {x} is {y}",
            "going back from {x} one meets {y}",
            "one step back from {x} is {y}",
        ),
        ("The {kind} before {x} is", "Before {x} comes"),
    ),
    "bigger": Speech(
        ("the bigger of {p} and {q}", "the bigger one of {p} and {q}", "the bigger animal of {p} and {q}", "the larger of {p} and {q}"),
        (
            "{y} is bigger than {b}",
            "{b} is smaller than {y}",
            "of {p} and {q} the bigger is {y}",
            "between {p} and {q} the bigger one is {y}",
            "comparing {p} with {q}, the bigger one is {y}",
            "beside {b} the bigger animal is {y}",
        ),
        ("The bigger of {p} and {q} is", "Between {p} and {q} the bigger one is"),
    ),
    "add": Speech(
        ("{p} plus {q}", "the sum of {p} and {q}", "{p} and {q} together", "{p} added to {q}"),
        (
            "{p} plus {q} makes {y}",
            "{p} and {q} make {y}",
            "with {p} nuts and {q} more there are {y} nuts",
            "adding {p} and {q} gives {y}",
            "{da} + {db} = {dy}, so {p} plus {q} is {y}",
            "{name} had {p} coins, got {q} more and then had {y}",
        ),
        ("The sum of {p} and {q} is", "{p} plus {q} is"),
    ),
    "subtract": Speech(
        ("{a} minus {b}", "{a} less {b}", "the difference of {a} and {b}", "the rest of {a} without {b}"),
        (
            "{a} minus {b} leaves {y}",
            "taking {b} from {a} leaves {y}",
            "{b} taken away from {a} gives {y}",
            "of {a} nuts {b} were eaten and {y} were left",
            "{da} - {db} = {dy}, so {a} minus {b} is {y}",
            "{name} had {a} coins, lost {b} and then had {y}",
        ),
        ("The difference of {a} and {b} is", "{a} minus {b} is"),
    ),
    "digits": Speech(
        ("the number {x} in digits", "{x} in digits", "{x} written in figures", "the figure for {x}"),
        (
            "{x} is written {y}",
            "{x} stands in the book as {y}",
            "the number {x} looks like {y}",
            "the price was {x}, that is {y}",
            "the door with the number {x} bears the figure {y}",
            "on paper {x} becomes {y}",
        ),
        ("The number {x} in digits is", "The figure for {x} is"),
    ),
    "parity": Speech(
        ("the parity of {x}", "the parity of the number {x}", "the kind of number {x} is", "{x}'s parity"),
        (
            "{x} is {y}",
            "the number {x} is {y}",
            "{x} is an {y} number",
            "{x} counts among the {y} numbers",
            "of even and odd, {x} is {y}",
            "dividing {x} by two shows that it is {y}",
        ),
        ("The parity of {x} is", "The number {x} is"),
    ),
    "first_letter": Speech(
        ("the first letter of {x}", "the first letter in the word {x}", "the letter at the start of {x}", "the opening letter of {x}"),
        (
            "{x} starts with {y}",
            "{x} begins with the letter {y}",
            "the word {x} has {y} at the start",
            "the spelling of {x} opens with {y}",
            "{x} begins with {y}",
            "at the front of {x} stands {y}",
        ),
        ("The first letter of {x} is", "The word {x} starts with"),
    ),
    "last_letter": Speech(
        ("the last letter of {x}", "the last letter in the word {x}", "the letter at the end of {x}", "the final letter of {x}"),
        (
            "{x} ends with {y}",
            "{x} ends in the letter {y}",
            "the word {x} has {y} at the end",
            "the spelling of {x} closes with {y}",
            "{x} stops with {y}",
            "at the back of {x} stands {y}",
        ),
        ("The last letter of {x} is", "The word {x} ends with"),
    ),
    "count_letters": Speech(
        ("the number of letters in {x}", "the letter count of {x}", "the length of the word {x}", "the count of letters in the word {x}"),
        (
            "{x} has {y} letters",
            "there are {y} letters in {x}",
            "the word {x} is {y} letters long",
            "{name} counted {y} letters in {x}",
            "it takes {y} letters to write {x}",
            "counting the letters of {x} gives {y}",
        ),
        ("The number of letters in {x} is", "Counting the letters of {x} gives"),
    ),
    "spell": Speech(
        ("the spelling of {x}", "the spelling of the word {x}", "the letters of {x} in order", "{x} letter by letter"),
        (
            "{x} is spelled {y}",
            "the word {x} is spelled {y}",
            "one spells {x} as {y}",
            "{name} spelled {x} aloud: {y}",
            "the letters of {x} are {y}",
            "{x} is written with the letters {y}",
        ),
        ("The spelling of {x} is", "The word {x} is spelled"),
    ),
    "reverse": Speech(
        ("{x} spelled backwards", "the word {x} spelled backwards", "the letters of {x} from the end", "{x} read backwards"),
        (
            "backwards {x} is {y}",
            "from back to front {x} reads {y}",
            "{name} spelled {x} backwards: {y}",
            "in the mirror {x} becomes {y}",
            "the word {x} turned around is {y}",
            "the reverse of {x} is {y}",
        ),
        ("The word {x} spelled backwards is", "Backwards {x} is"),
    ),
    "first_item": Speech(
        ("the first word in {items}", "the first word of the list {items}", "the first of {items}", "the first item in {items}"),
        (
            "the list {items} starts with {y}",
            "the list {items} begins with {y}",
            "of {items} the first is {y}",
            "in the row {items} the one in front is {y}",
            "{name} named {items}; the first was {y}",
        ),
        ("The first word in {items} is", "The list {items} starts with"),
    ),
    "last_item": Speech(
        ("the last word in {items}", "the last word of the list {items}", "the last of {items}", "the last item in {items}"),
        (
            "the list {items} ends with {y}",
            "the list {items} closes with {y}",
            "of {items} the last is {y}",
            "in the row {items} the one at the back is {y}",
            "{name} named {items}; the last was {y}",
        ),
        ("The last word in {items} is", "The list {items} ends with"),
    ),
    "job": Speech(
        ("the work of the {x}", "the thing {ax} makes", "the product of the {x}"),
        ("the {x} makes {y}", "{ax} makes {y}", "the {x} sells {y}", "one goes to the {x} for {y}"),
        ("The {x} makes",),
    ),
    "unit": Speech(
        ("the number of {parts} in {ax}", "the count of {parts} in one {x}"),
        ("{ax} has {y} {parts}", "one {x} is {y} {parts}", "there are {y} {parts} in {ax}"),
        ("The number of {parts} in {ax} is",),
    ),
    "season": Speech(
        ("the season of {x}", "the season in which {x} falls"),
        ("{x} is in the {y}", "{x} is a month of {y}", "in {x} it is {y}"),
        ("The season of {x} is",),
    ),
    "sort": Speech(
        ("the alphabetical order of {items}", "the list {items} in order"),
        ("sorted by the alphabet, {items} become {y}", "in the order of the alphabet {items} are {y}"),
        ("The alphabetical order of {items} is",),
    ),
}

STORIES = (
    "The {a} had a {thing}. The {a} gave the {thing} to the {b}. Now the {b} has the {thing}.",
    "One day the {a} found a {thing}. The {b} was sad, so the {a} gave it the {thing}. "
    "The {b} has the {thing} now, and the {a} has none.",
    "The {b} had no {thing}. The {a} came by with a {thing} and gave it away. "
    "It was the {a} who gave the {thing}, and the {b} who got it.",
    "In the morning the {thing} belonged to the {a}. In the evening it belonged to the {b}, "
    "because the {a} gave it to the {b}.",
)
STORY_ACTORS = "fox bear wolf hen goat owl frog mouse lion duck baker farmer tailor smith cook".split()
STORY_THINGS = "ball book lamp key coin drum rope apple hat ring".split()
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
