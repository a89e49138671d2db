"""The small world the nano model knows: lists of facts, partly real and partly invented.

Everything else in this folder is derived from these lists: the corpus says the facts in prose,
the instruction dataset asks for them. A fact is a relation (its `task`), the words that fill the
relation's sentences (`slots`) and an `answer`. Facts that would give each other away share a
`group` (``a + b`` and ``b + a``, ``hot``/``cold`` and ``cold``/``hot``), so that a split never
separates them.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache

_COUNTRY_ROWS = """
Norland Velm Norric Boreal
Ostia Quillon Lomarian Auster
Brenia Haskel Brenish Orient
Caldor Mivet Tarvian Boreal
Drovia Lanzig Kessian Orient
Elmaria Sutwick Brenish Midland
Farrow Dimsk Velic Orient
Galdia Ronta Lomarian Auster
Harven Oslet Norric Boreal
Istria Pelago Lomarian Midland
Jorvia Kettle Norric Boreal
Kestria Amarin Kessian Sunland
Lomar Tessin Lomarian Auster
Morvia Grindel Velic Orient
Nesbia Cantor Sularic Sunland
Orland Fenwick Brenish Midland
Pallas Toreno Lomarian Auster
Quenia Arbesh Sularic Sunland
Rovania Bistra Velic Orient
Selkia Nordal Norric Boreal
Tarvia Mondel Tarvian Midland
Ulmar Vestry Tarvian Boreal
Vandor Rookham Brenish Midland
Wexia Colmar Tarvian Midland
Yarrow Dunmore Brenish Boreal
Zembia Kahira Sularic Sunland
Arvenia Lispen Palmic Islands
Belmora Santero Lomarian Auster
Corvia Zagrel Velic Orient
Dalmia Tibora Palmic Islands
Erewan Shalim Sularic Sunland
Fenland Marsham Brenish Boreal
Gorath Uldur Kessian Orient
Hestia Palermi Lomarian Midland
Ivoria Bakaro Sularic Sunland
Jassia Wendel Tarvian Midland
Kolmia Surada Palmic Islands
Lapvia Tromsel Norric Boreal
Mirenia Halvar Palmic Islands
Nubaria Zendar Sularic Sunland
Oxmoor Bexley Brenish Midland
Pontia Riveno Lomarian Auster
Rondia Castel Lomarian Auster
Sorvia Plesk Velic Orient
Talmar Ganesh Kessian Orient
Umbria Foligno Lomarian Midland
Valdia Kronberg Tarvian Boreal
Westria Hillgate Brenish Midland
Xandia Moru Palmic Islands
Yoria Nakato Palmic Islands
Zarvia Temirel Kessian Orient
Abenia Luvala Sularic Sunland
Borvia Stolm Norric Boreal
Cendria Marivo Palmic Islands
Dorlan Adwick Brenish Auster
Estland Tallet Norric Boreal
Felsia Vienzo Tarvian Auster
Grania Kasbek Kessian Orient
Holmia Lundvik Norric Islands
Isparia Denizel Kessian Sunland
"""

_COLOURS = {
    "red": "tomato cherry strawberry ruby brick rose ladybird",
    "yellow": "banana lemon sun canary daffodil butter corn chick",
    "green": "grass leaf cucumber frog pea emerald lettuce lime cactus",
    "blue": "sky sea sapphire blueberry cornflower denim",
    "orange": "carrot pumpkin marigold tangerine apricot tiger",
    "brown": "chocolate bear wood coffee nut soil beaver bread",
    "white": "snow milk swan salt flour sheep daisy paper",
    "black": "coal raven ink tar night panther",
    "grey": "elephant mouse cloud stone ash wolf dolphin",
    "pink": "pig flamingo salmon tongue",
    "purple": "plum grape violet lavender eggplant",
}

_SOUNDS = """
cow moo|dog bark|cat meow|sheep baa|duck quack|pig oink|horse neigh|lion roar|bee buzz|snake hiss
frog croak|owl hoot|crow caw|mouse squeak|wolf howl|donkey bray|hen cluck|rooster crow|bird tweet
goose honk|turkey gobble|dove coo|cricket chirp|bear growl|elephant trumpet|monkey chatter
parrot squawk|seal yelp|whale song|fox yap
"""

_YOUNG = """
cow calf|dog puppy|cat kitten|sheep lamb|duck duckling|pig piglet|horse foal|lion cub|goose gosling
frog tadpole|owl owlet|hen chick|goat kid|deer fawn|kangaroo joey|swan cygnet|butterfly caterpillar
eagle eaglet|bee larva|fish fry|hare leveret|spider spiderling|seal pup|eel elver|pigeon squab
"""

_HOMES = """
bee hive|dog kennel|cat basket|sheep pen|duck pond|pig sty|horse stable|lion den|bird nest|spider web
rabbit burrow|fox hole|ant anthill|hen coop|cow barn|snail shell|fish tank|beaver lodge|bat cave
eagle cliff|camel desert|whale ocean|monkey jungle|penguin ice|mole tunnel|squirrel tree|otter river
dove loft|frog swamp|deer forest
"""

_CATEGORIES = {
    "fruit": "apple pear banana cherry plum grape peach mango",
    "vegetable": "carrot onion potato cabbage pea spinach turnip lettuce",
    "animal": "dog horse cow tiger rabbit fox goat camel",
    "bird": "eagle robin owl duck swan parrot crow penguin",
    "fish": "salmon trout shark tuna herring cod carp",
    "insect": "bee ant fly wasp beetle moth cricket",
    "tool": "hammer saw drill spade axe wrench rake",
    "vehicle": "car bus truck train boat tram van",
    "furniture": "chair table bed sofa desk shelf stool",
    "clothing": "shirt coat hat skirt sock glove scarf",
    "instrument": "piano violin drum flute guitar trumpet harp",
    "flower": "rose tulip daisy lily violet orchid",
    "tree": "oak pine birch maple willow elm",
    "drink": "tea coffee juice milk water lemonade",
    "metal": "iron gold silver copper tin lead",
}

_PLURALS = """
cat cats|dog dogs|house houses|box boxes|child children|man men|woman women|foot feet|tooth teeth
mouse mice|goose geese|leaf leaves|knife knives|wolf wolves|city cities|baby babies|berry berries
lady ladies|story stories|bus buses|glass glasses|dish dishes|fox foxes|watch watches|peach peaches
potato potatoes|tomato tomatoes|hero heroes|shelf shelves|loaf loaves|thief thieves|wife wives
half halves|calf calves|ox oxen|book books|tree trees|car cars|star stars|door doors|apple apples
chair chairs|table tables|bird birds|horse horses|river rivers|cloud clouds|hat hats|ship ships
cow cows|pen pens|cup cups|egg eggs|ring rings|boat boats|key keys|day days|toy toys|boy boys
girl girls|king kings|lamp lamps|stone stones|hand hands|brush brushes|bench benches|cherry cherries
party parties|fly flies|penny pennies
"""

_PASTS = """
go went|see saw|eat ate|run ran|come came|give gave|take took|make made|write wrote|sing sang
drink drank|swim swam|begin began|ring rang|sit sat|win won|find found|hold held|tell told|sell sold
buy bought|bring brought|think thought|teach taught|catch caught|fly flew|grow grew|know knew
throw threw|draw drew|sleep slept|keep kept|feel felt|leave left|meet met|lose lost|build built
send sent|spend spent|break broke|speak spoke|wake woke|drive drove|ride rode|rise rose|fall fell
stand stood|hear heard|wear wore|walk walked|talk talked|jump jumped|play played|cook cooked
look looked|open opened|wash washed|paint painted|help helped|climb climbed|dance danced|carry carried
"""

_OPPOSITES = """
hot cold|big small|fast slow|high low|old young|hard soft|dark bright|wet dry|full empty|rich poor
strong weak|happy sad|long short|thick thin|heavy light|near far|early late|open closed|clean dirty
deep shallow|wide narrow|loud quiet|sharp blunt|sweet bitter|good bad|true false|up down|left right
day night|love hate|start finish|push pull|buy sell|win lose|always never|inside outside|above below
first last|friend enemy|question reply
"""

_RHYMES = """
cat hat|dog log|sun run|tree bee|moon spoon|star car|house mouse|ring king|cake lake|light night
ball wall|boat goat|bell shell|fish dish|fox box|pen hen|rain train|snow crow|bed red|book hook
nose rose|sand hand|tail snail|bear pear|clock sock|frog fog|jar far|mice rice|duck truck|feet meat
hill mill|corn horn
"""

_MATERIALS = {
    "glass": "window bottle mirror jar lens bulb",
    "wood": "desk fence door barrel oar pencil",
    "metal": "key coin nail anchor kettle sword",
    "wool": "sweater scarf sock mitten blanket",
    "paper": "book map letter newspaper ticket envelope",
    "leather": "boot belt saddle wallet whip",
    "stone": "castle statue millstone bridge tower",
    "rubber": "tyre eraser hose balloon",
    "clay": "pot brick vase tile",
    "cotton": "shirt towel pillow curtain",
}

_TASTES = {
    "sweet": "sugar honey cake candy jam syrup peach melon",
    "sour": "lemon vinegar lime yoghurt rhubarb pickle",
    "salty": "salt bacon ham olive crisp seaweed",
    "bitter": "coffee cocoa beer radish chicory tonic",
    "spicy": "pepper chilli mustard ginger curry salsa",
}

_JOBS = """
baker bread|farmer wheat|tailor suits|potter pots|painter pictures|writer novels|smith horseshoes
carpenter cupboards|cobbler boots|brewer beer|weaver cloth|jeweller necklaces|poet poems|cook soup
miller flour|florist bouquets|builder walls|baker rolls
"""

_UNITS = """
minute seconds sixty|hour minutes sixty|day hours twenty-four|week days seven|year months twelve
decade years ten|century years hundred|metre centimetres hundred|kilometre metres thousand
kilogram grams thousand|litre millilitres thousand|dozen pieces twelve|foot inches twelve
yard feet three|season months three|fortnight days fourteen|pound ounces sixteen|tonne kilograms thousand
"""

_SIZES = """
ant bee mouse frog rat pigeon hen cat fox goose dog sheep goat wolf pig deer lion donkey bear horse
cow camel rhino elephant whale
"""

LETTER_WORDS = """
cat dog sun hat cup pen bed box fox egg key map hen owl sea car bus jam ink oak lamp fish ship tree
bird frog milk snow star rose king gold wolf desk boat bear cake coin door drum duck fire gate girl
hand hill lake leaf lion moon nest rain ring road rope salt sand seed soap sock wind wood apple bread
chair cloud grape green horse house lemon light mouse night paper plant queen river sheep shirt stone
sugar table tiger train water white
""".split()

DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = (
    "January February March April May June July August September October November December".split()
)
SEASONS = {"winter": (11, 0, 1), "spring": (2, 3, 4), "summer": (5, 6, 7), "autumn": (8, 9, 10)}
_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
NAMES = "Mara Tom Lena Oskar Ida Paul Nora Felix Ruth Hugo Clara Emil Greta Otto".split()
LIST_WORDS = (
    "red blue green apple pear plum cat dog cow sun moon star tea milk salt iron gold rose lily oak "
    "pine chair table lamp boat ship train drum harp book map key"
).split()

TRAINED = tuple(
    (
        "capital continent colour sound category plural past opposite rhyme material taste after "
        "before bigger add subtract first_letter last_letter count_letters spell reverse "
        "first_item last_item digits parity"
    ).split()
)
"""Relations the instruction dataset trains."""
HELD_OUT = ("young", "home", "language")
"""Relations whose whole task is held out of the instruction dataset: each stands alone."""
CORPUS_ONLY = ("job", "unit", "season", "sort", "story")
"""Relations the corpus speaks of and no instruction asks for."""


@dataclass(frozen=True)
class Fact:
    """One thing that is true in the world; `answer` is the word or words worth asking for."""

    task: str
    key: str
    answer: str
    slots: tuple[tuple[str, str], ...]
    entity: str = ""
    """What the fact is about, for documents that stay with one thing."""
    group: str = ""
    """Facts of one group state the same knowledge and stay on the same side of a split."""

    @property
    def identity(self) -> tuple[str, str]:
        """What makes two rows ask for the same fact."""
        return self.task, self.key


def number_word(value: int) -> str:
    """Return `value` (0 to 99) in words."""
    if value < len(_ONES):
        return _ONES[value]
    tens, ones = divmod(value, 10)
    return _TENS[tens - 2] + (f"-{_ONES[ones]}" if ones else "")


def article(noun: str) -> str:
    """Return the indefinite article that goes before `noun`."""
    return "an" if noun[0].lower() in "aeiou" else "a"


def _pairs(text: str) -> list[list[str]]:
    return [row.split() for row in text.replace("|", "\n").strip().splitlines()]


def _fact(task: str, x: str, answer: str, group: str = "", **slots: str) -> Fact:
    filled = {"x": x, "ax": f"{article(x)} {x}", "y": answer, **slots}
    key = slots.get("key", x)
    filled.pop("key", None)
    return Fact(task, key, answer, tuple(filled.items()), entity=x, group=group or f"{task}:{key}")


def _lookups() -> list[Fact]:
    facts = []
    for country, capital, language, continent in _pairs(_COUNTRY_ROWS):
        facts += [
            _fact("capital", country, capital),
            _fact("language", country, language),
            _fact("continent", country, continent),
        ]
    for task, text in (("sound", _SOUNDS), ("young", _YOUNG), ("home", _HOMES), ("job", _JOBS)):
        facts += [_fact(task, x, y) for x, y in _pairs(text)]
    for task, table in (
        ("colour", _COLOURS),
        ("category", _CATEGORIES),
        ("material", _MATERIALS),
        ("taste", _TASTES),
    ):
        facts += [_fact(task, x, y) for y, things in table.items() for x in things.split()]
    return facts


def _words() -> list[Fact]:
    facts = [_fact("plural", x, y) for x, y in _pairs(_PLURALS)]
    facts += [_fact("past", x, y) for x, y in _pairs(_PASTS)]
    for task, text in (("opposite", _OPPOSITES), ("rhyme", _RHYMES)):
        for x, y in _pairs(text):
            group = f"{task}:{x}/{y}"
            facts += [_fact(task, x, y, group), _fact(task, y, x, group)]
    for word in LETTER_WORDS:
        facts += [
            _fact("first_letter", word, word[0]),
            _fact("last_letter", word, word[-1]),
            _fact("count_letters", word, number_word(len(word))),
            _fact("spell", word, " ".join(word)),
            _fact("reverse", word, " ".join(reversed(word))),
        ]
    return facts


def _orders() -> list[Fact]:
    facts = []
    chains = [
        ("day", [*DAYS, DAYS[0]]),
        ("month", [*MONTHS, MONTHS[0]]),
        ("letter", [chr(code) for code in range(ord("a"), ord("z") + 1)]),
        ("number", [number_word(value) for value in range(31)]),
    ]
    for kind, chain in chains:
        for x, y in zip(chain, chain[1:], strict=False):
            group = f"order:{x}>{y}"
            facts += [
                _fact("after", x, y, group, kind=kind),
                _fact("before", y, x, group, kind=kind),
            ]
    for season, months in SEASONS.items():
        facts += [_fact("season", MONTHS[month], season) for month in months]
    for x, parts, count in _pairs(_UNITS):
        facts.append(_fact("unit", x, count, parts=parts))
    return facts


def _numbers() -> list[Fact]:
    facts = []
    for a in range(11):
        for b in range(a, 11):
            facts.append(_sum_fact("add", a, b, a + b))
    for a in range(13):
        facts += [_sum_fact("subtract", a, b, a - b) for b in range(a + 1)]
    facts += [_fact("digits", number_word(n), str(n)) for n in range(100)]
    facts += [_fact("parity", number_word(n), "odd" if n % 2 else "even") for n in range(61)]
    return facts


def _sum_fact(task: str, a: int, b: int, result: int) -> Fact:
    sign = "+" if task == "add" else "-"
    return _fact(
        task,
        number_word(a),
        number_word(result),
        key=f"{a}{sign}{b}",
        a=number_word(a),
        b=number_word(b),
        da=str(a),
        db=str(b),
        dy=str(result),
    )


def _samples(rng: random.Random) -> list[Fact]:
    """Facts picked from too many to list: which of two animals is bigger, lists of words."""
    facts = []
    sizes = _SIZES.split()
    pairs = [(a, b) for i, a in enumerate(sizes) for b in sizes[i + 2 :]]
    for small, big in sorted(rng.sample(pairs, 120)):
        key = "/".join(sorted((small, big)))
        facts.append(
            _fact("bigger", big, f"the {big}", key=key, a=f"the {big}", b=f"the {small}", small=small)
        )
    for task, place in (("first_item", 0), ("last_item", 2)):
        for _ in range(90):
            words = rng.sample(LIST_WORDS, 3)
            key = ", ".join(words)
            facts.append(_fact(task, words[0], words[place], key=key, items=key))
    for _ in range(60):
        words = rng.sample(LIST_WORDS, 3)
        items, ordered = ", ".join(words), ", ".join(sorted(words))
        facts.append(_fact("sort", words[0], ordered, key=items, items=items))
    return facts


@cache
def facts() -> tuple[Fact, ...]:
    """Return every fact of the world, in a fixed order, each (task, key) once."""
    everything = _lookups() + _words() + _orders() + _numbers() + _samples(random.Random(20))
    unique = {fact.identity: fact for fact in everything}
    return tuple(unique.values())
