"""The small shop world behind the bundled tiny model: what there is, and how a product is drawn.

Everything is invented for this project. Randomness comes from random.Random.random() alone, the one method whose values
Python promises for all versions, so the same seed gives the same bytes everywhere.
"""
import random

# category: (lowest price, highest price, materials, features, audiences, what it is for)
CATEGORIES = {
    "desk lamp": (18, 95, "steel oak aluminium brass", "a dimmer switch|a flexible arm|a heavy base|a charging port",
                  "students|office workers|night owls", "reading late|long evenings of work"),
    "floor lamp": (45, 190, "steel walnut brass bamboo", "a dimmer switch|a foot switch|a round shade|a heavy base",
                   "families|readers|night owls", "a dark corner|quiet evenings"),
    "mug": (6, 28, "stoneware porcelain enamel glass", "a wide handle|a snug lid|a thick rim|a curved base",
            "tea lovers|office workers|campers", "the first coffee of the day|slow mornings"),
    "teapot": (19, 85, "stoneware porcelain copper glass", "a fine strainer|a long spout|a wooden knob|a curved base",
               "tea lovers|families|collectors", "a long afternoon|guests"),
    "kettle": (22, 120, "steel copper enamel glass", "a long spout|a loud whistle|a cool handle|a wide base",
               "tea lovers|home cooks|campers", "a quick cup of tea|busy mornings"),
    "backpack": (29, 160, "canvas nylon leather wool", "padded straps|a hidden pocket|a rain cover|a laptop sleeve",
                 "students|commuters|travellers", "the way to work|weekend trips"),
    "tote bag": (9, 70, "canvas linen leather cotton", "long handles|an inner pocket|a zip top|a key ring",
                 "commuters|students|shoppers", "the market|a day at the library"),
    "city bike": (190, 480, "steel aluminium", "a front basket|a chain guard|eight gears|a quiet bell",
                  "commuters|families|students", "short rides in town|the way to work"),
    "road bike": (310, 490, "carbon aluminium titanium steel", "disc brakes|twelve gears|a light frame|narrow tyres",
                  "racers|commuters|athletes", "long climbs|fast rides on Sunday"),
    "bike helmet": (25, 110, "carbon cork", "a soft lining|a rear light|a magnetic clasp|wide vents",
                    "racers|commuters|children", "the ride to school|busy streets"),
    "scarf": (12, 75, "wool cotton linen silk", "a striped edge|long fringes|a soft lining|a hidden pocket",
              "commuters|travellers|walkers", "cold mornings|windy days"),
    "raincoat": (39, 180, "nylon cotton", "taped seams|a wide hood|a bright trim|a hidden pocket",
                 "walkers|commuters|children", "wet autumn days|windy days"),
    "notebook": (4, 32, "leather linen cork cotton", "dotted pages|numbered pages|a page marker|a pen loop",
                 "students|writers|travellers", "long lectures|notes on the train"),
    "wallet": (14, 90, "leather canvas cork nylon", "a coin pocket|six card slots|a zip top|a key ring",
               "travellers|commuters|shoppers", "a small pocket|city trips"),
    "office chair": (90, 420, "leather nylon oak wool", "a tilting back|quiet wheels|soft armrests|a high back",
                     "office workers|writers|students", "long days at the desk|a home office"),
    "bench": (60, 290, "oak beech bamboo steel", "a storage box|folding legs|a high back|a curved seat",
              "families|gardeners|readers", "the hall|a sunny garden"),
    "rug": (35, 240, "wool cotton linen bamboo", "a striped edge|long fringes|a rubber backing|a low pile",
            "families|collectors|readers", "a cold floor|the living room"),
    "blanket": (20, 130, "wool cotton linen silk", "long fringes|a striped edge|a quilted weave|a carry strap",
                "families|campers|readers", "winter nights|a picnic in the park"),
    "cushion": (9, 60, "wool cotton linen silk", "a zip cover|a piped edge|a soft filling|a quilted weave",
                "readers|families|children", "the window seat|lazy Sundays"),
    "vase": (11, 95, "glass stoneware porcelain copper", "a narrow neck|a wide rim|a curved base|a ribbed body",
             "collectors|gardeners|hosts", "fresh flowers|a bare shelf"),
    "wall clock": (15, 110, "oak walnut brass cork", "large numbers|a silent motor|thin hands|a round frame",
                   "families|collectors|office workers", "the kitchen wall|a quiet study"),
    "radio": (30, 190, "walnut beech bamboo aluminium", "a big dial|an alarm|a carry strap|a charging port",
              "night owls|campers|home cooks", "the kitchen shelf|mornings in the garden"),
    "speaker": (25, 260, "walnut aluminium bamboo felt", "a carry strap|deep bass|a charging port|touch controls",
                "students|musicians|hosts", "small parties|music in the bath"),
    "water bottle": (8, 48, "steel titanium glass aluminium", "a carry loop|a straw lid|a wide mouth|a screw top",
                     "runners|athletes|walkers", "a long hike|the gym"),
    "lunch box": (7, 45, "bamboo steel enamel glass", "a tight seal|two trays|a carry strap|a folding spoon",
                  "children|office workers|students", "lunch at the desk|school days"),
    "frying pan": (16, 140, "steel copper aluminium titanium", "a cool handle|a pouring lip|a thick base|high sides",
                   "home cooks|chefs|campers", "quick suppers|pancakes on Sunday"),
    "bread knife": (10, 85, "steel titanium walnut olivewood", "a long blade|a curved grip|deep teeth|a safe sheath",
                    "home cooks|chefs|hosts", "a warm loaf|big breakfasts"),
    "cutting board": (9, 78, "oak beech bamboo olivewood", "rubber feet|a juice groove|a hanging hole|a curved grip",
                      "home cooks|chefs|hosts", "chopping herbs|a small kitchen"),
    "tent": (70, 430, "nylon canvas cotton", "taped seams|two doors|a storage pocket|folding poles",
             "campers|families|travellers", "rainy weekends|nights by the lake"),
    "umbrella": (9, 70, "nylon bamboo steel cotton", "a curved grip|a carry strap|an open button|strong ribs",
                 "commuters|walkers|shoppers", "wet autumn days|sudden showers"),
}

COLOURS = ("sage green|forest green|mint green|navy blue|sky blue|royal blue|brick red|cherry red|mustard yellow|lemon "
           "yellow|slate grey|pearl grey|coral pink|rose pink|jet black|snow white|deep purple|burnt orange|sandy beige|"
           "warm brown").split("|")

STARTS = ("Vel Tan Bri Kor Mar Sel Dro Fen Gal Hal Jor Lum Nor Pel Quin Ros Sar Thal Ul Wil Yor Zan Ced Ald Bel Cor Dal "
          "El Far Gren Hol Is Kel Lor Mir Nev Or Pra Ril Stel Tor Ver Wen Bran Cal Dun Ev Fal").split()
MIDDLES = "a e i o u an el or in ar en is ol um ev ad".split()
ENDS = ("ora dric lin mont vey ton sa wick nia dell ro ley ric ba dor va mere let dan field ska rix na lo gate ven tis "
        "mar quist by").split()


class Draw:
    """A seeded source of choices."""

    def __init__(self, seed):
        self.random = random.Random(seed).random

    def below(self, n):
        return int(self.random() * n)

    def pick(self, items):
        return items[self.below(len(items))]

    def chance(self, p):
        return self.random() < p

    def shuffled(self, items):
        items = list(items)
        for i in range(len(items) - 1, 0, -1):
            j = self.below(i + 1)
            items[i], items[j] = items[j], items[i]
        return items


def article(words):
    return ("an " if words[0].lower() in "aeiou" else "a ") + words


def bare(feature):
    """The feature without its article: the value of the task's slot."""
    first, _, rest = feature.partition(" ")
    return rest if first in ("a", "an") else feature


def names(seed):
    """Every invented name once, in a random order: two or three syllables each."""
    all_names = {s + e for s in STARTS for e in ENDS} | {s + m + e for s in STARTS for m in MIDDLES for e in ENDS}
    return Draw(seed).shuffled(sorted(all_names))


def product(draw, name, category=None):
    """One product as a dict of strings; `feature` carries its article, `feat` does not."""
    category = category or draw.pick(list(CATEGORIES))
    low, high, materials, features, audiences, uses = CATEGORIES[category]
    feature = draw.pick(features.split("|"))
    colour = draw.pick(COLOURS)
    return {"name": name, "category": category, "colour": colour, "a_colour": article(colour),
            "a_category": article(category), "material": draw.pick(materials.split()), "feature": feature,
            "feat": bare(feature), "price": f"${low + draw.below(high - low + 1)}",
            "audience": draw.pick(audiences.split("|")), "use": draw.pick(uses.split("|")),
            "stars": f"{3 + draw.below(2)}.{draw.below(10)}", "years": draw.pick("two three five ten".split()),
            "weight": f"{1 + draw.below(9)}.{draw.below(10)} kg",
            "day": draw.pick("Monday Tuesday Wednesday Thursday Friday Saturday".split()),
            "person": draw.pick("Anna Bela Carla Dino Erik Flora Gina Hugo Irene Jonas Klara Leo Mona Nils".split()),
            "month": draw.pick("January March April May June August October December".split())}


def vocabularies():
    """The closed vocabularies of the slots that have one."""
    columns = list(zip(*CATEGORIES.values()))
    return {"category": sorted(CATEGORIES), "colour": sorted(COLOURS),
            "material": sorted({m for c in columns[2] for m in c.split()}),
            "feature": sorted({bare(f) for c in columns[3] for f in c.split("|")}),
            "audience": sorted({a for c in columns[4] for a in c.split("|")})}


def check_world():
    """No value stands inside a value of another slot: else a slot error could not be read off the text."""
    entries = [(slot, value) for slot, values in vocabularies().items() for value in values]
    for slot, value in entries:
        for other, longer in entries:
            inside = f" {value} " in f" {longer} "
            assert (slot, value) == (other, longer) or not inside, f"{slot} '{value}' stands in {other} '{longer}'"
