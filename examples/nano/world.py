"""The lists that make the nano model's small world, partly real and partly invented.

They are written to be read: one row per line, or several on a line divided by ``|``. `facts.py`
turns them into facts.
"""

from __future__ import annotations


def words(text: str) -> list[str]:
    """Return the words of a list."""
    return text.split()


def table(text: str) -> list[list[str]]:
    """Return the rows of a list of rows, each as its words."""
    return [row.split() for row in text.replace("|", "\n").strip().splitlines()]


COUNTRIES = """
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

COLOURS = {
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

SOUNDS = """
cow moo|dog bark|cat meow|sheep baa|duck quack|pig oink|horse neigh|lion roar|bee buzz|snake hiss
frog croak|owl hoot|crow caw|mouse squeak|wolf howl|donkey bray|hen cluck|rooster crow|bird tweet
goose honk|turkey gobble|dove coo|cricket chirp|bear growl|elephant trumpet|monkey chatter
parrot squawk|seal yelp|whale song|fox yap
"""

YOUNG = """
cow calf|dog puppy|cat kitten|sheep lamb|duck duckling|pig piglet|horse foal|lion cub|goose gosling
frog tadpole|owl owlet|hen chick|goat kid|deer fawn|kangaroo joey|swan cygnet|butterfly caterpillar
eagle eaglet|bee larva|fish fry|hare leveret|spider spiderling|seal pup|eel elver|pigeon squab
"""

HOMES = """
bee hive|dog kennel|cat basket|sheep pen|duck pond|pig sty|horse stable|lion den|bird nest
spider web
rabbit burrow|fox hole|ant anthill|hen coop|cow barn|snail shell|fish tank|beaver lodge|bat cave
eagle cliff|camel desert|whale ocean|monkey jungle|penguin ice|mole tunnel|squirrel tree|otter river
dove loft|frog swamp|deer forest
"""

CATEGORIES = {
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

PLURALS = """
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

PASTS = """
go went|see saw|eat ate|run ran|come came|give gave|take took|make made|write wrote|sing sang
drink drank|swim swam|begin began|ring rang|sit sat|win won|find found|hold held|tell told|sell sold
buy bought|bring brought|think thought|teach taught|catch caught|fly flew|grow grew|know knew
throw threw|draw drew|sleep slept|keep kept|feel felt|leave left|meet met|lose lost|build built
send sent|spend spent|break broke|speak spoke|wake woke|drive drove|ride rode|rise rose|fall fell
stand stood|hear heard|wear wore|walk walked|talk talked|jump jumped|play played|cook cooked
look looked|open opened|wash washed|paint painted|help helped|climb climbed|dance danced
carry carried
"""

OPPOSITES = """
hot cold|big small|fast slow|high low|old young|hard soft|dark bright|wet dry|full empty|rich poor
strong weak|happy sad|long short|thick thin|heavy light|near far|early late|open closed|clean dirty
deep shallow|wide narrow|loud quiet|sharp blunt|sweet bitter|good bad|true false|up down|left right
day night|love hate|start finish|push pull|buy sell|win lose|always never|inside outside|above below
first last|friend enemy|question reply
"""

RHYMES = """
cat hat|dog log|sun run|tree bee|moon spoon|star car|house mouse|ring king|cake lake|light night
ball wall|boat goat|bell shell|fish dish|fox box|pen hen|rain train|snow crow|bed red|book hook
nose rose|sand hand|tail snail|bear pear|clock sock|frog fog|jar far|mice rice|duck truck|feet meat
hill mill|corn horn
"""

MATERIALS = {
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

TASTES = {
    "sweet": "sugar honey cake candy jam syrup peach melon",
    "sour": "lemon vinegar lime yoghurt rhubarb pickle",
    "salty": "salt bacon ham olive crisp seaweed",
    "bitter": "coffee cocoa beer radish chicory tonic",
    "spicy": "pepper chilli mustard ginger curry salsa",
}

JOBS = """
baker bread|farmer wheat|tailor suits|potter pots|painter pictures|writer novels|smith horseshoes
carpenter cupboards|cobbler boots|brewer beer|weaver cloth|jeweller necklaces|poet poems|cook soup
miller flour|florist bouquets|builder walls|baker rolls
"""

UNITS = """
minute seconds sixty|hour minutes sixty|day hours twenty-four|week days seven|year months twelve
decade years ten|century years hundred|metre centimetres hundred|kilometre metres thousand
kilogram grams thousand|litre millilitres thousand|dozen pieces twelve|foot inches twelve
yard feet three|season months three|fortnight days fourteen|pound ounces sixteen
tonne kilograms thousand
"""

SIZES = words(
    """
ant bee mouse frog rat pigeon hen cat fox goose dog sheep goat wolf pig deer lion donkey bear horse
cow camel rhino elephant whale
"""
)

LETTER_WORDS = words(
    """
cat dog sun hat cup pen bed box fox egg key map hen owl sea car bus jam ink oak lamp fish ship tree
bird frog milk snow star rose king gold wolf desk boat bear cake coin door drum duck fire gate girl
hand hill lake leaf lion moon nest rain ring road rope salt sand seed soap sock wind wood apple
bread
chair cloud grape green horse house lemon light mouse night paper plant queen river sheep shirt
stone
sugar table tiger train water white
"""
)

DAYS = words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
MONTHS = words(
    "January February March April May June July August September October November December"
)
SEASONS = {"winter": (11, 0, 1), "spring": (2, 3, 4), "summer": (5, 6, 7), "autumn": (8, 9, 10)}
ONES = words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
)
TENS = words("twenty thirty forty fifty sixty seventy eighty ninety")
NAMES = words("Mara Tom Lena Oskar Ida Paul Nora Felix Ruth Hugo Clara Emil Greta Otto")
LIST_WORDS = words(
    "red blue green apple pear plum cat dog cow sun moon star tea milk salt iron gold rose lily "
    "oak pine chair table lamp boat ship train drum harp book map key"
)
