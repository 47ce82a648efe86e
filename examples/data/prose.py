"""Product prose: listings, reviews, questions, comparisons, gift guides of the small shop world.

Every document introduces its product and then comes back to its attributes in other words, because that is what people
do and because a model that is to copy attributes must have seen them repeated. Nothing here looks like the task's
`name[...] | colour[...]` lists.
"""
from world import product

TITLES = ["{name}", "{name}: {a_colour} {category}", "The {name} {category}", "New in {month}: the {name}",
          "{name}, {price}", "{category} {name}", "A {name} for {audience}", "\"{name}\"", "The {colour} {name}"]

OPENINGS = [
    "The {name} is {a_colour} {category} made of {material}.",
    "The {name} is {a_category} made of {material}, and it comes in {colour}.",
    "{name} is {a_colour} {category} for {audience}.",
    "Meet the {name}, {a_colour} {category} with {feature}.",
    "This {category} is called {name} and costs {price}.",
    "Our new {category}, the {name}, is made of {material} and has {feature}.",
    "Looking for {a_category}? The {name} has {feature} and costs {price}.",
    "With {feature} and {a_colour} finish, the {name} is {a_category} for {use}.",
    "In {month} we got the {name}, {a_category} in {colour}, into the shop.",
    "For {price} the {name} gives {audience} {a_colour} {category} made of {material}.",
    "{audience_cap} like the {name}, a {material} {category} in {colour}.",
    "Made of {material}, the {name} is {a_category} with {feature}.",
    "The {category} \"{name}\" is {colour} and made of {material}.",
    "{colour_cap} and made of {material}, the {name} is our {category} for {audience}.",
    "{a_colour_cap} {category} with {feature}: that is the {name}.",
]

# Each of these comes back to one attribute.
COLOUR = ["Its colour is {colour}.", "We sell the {name} in {colour} only.", "The {colour} looks good in any room.",
          "The colour on the label reads \"{colour}\".", "In {colour} it is easy to find.",
          "What colour is the {name}? It is {colour}.", "The {name} is {colour}, inside and out.",
          "{colour_cap} was the colour most people asked for.", "The photo is true: the {name} really is {colour}.",
          "The colour ({colour}) does not fade.", "\"{colour}\" says the label, and it is {colour}.", "Every {name} is {colour}.", "It is {colour} all over."]
MATERIAL = ["It is made of {material}.", "The {material} feels solid.", "We chose {material} because it lasts.",
            "What is the {name} made of? It is made of {material}.", "The {material} comes from a small workshop.",
            "The body is {material}, with no plastic.", "Like all good things made of {material}, it ages well.",
            "Its material ({material}) is easy to clean.", "{material_cap} keeps the {name} light and strong.",
            "The tag says \"{material}\".", "\"{material}\" is what customers write about.", "A {category} made of {material} can be repaired."]
FEATURE = ["It has {feature}.", "It comes with {feature}.", "The best part is the {feat}.", "You get {feature} as well.",
           "What makes the {name} special? It has {feature}.", "Thanks to the {feat}, it is ideal for {use}.",
           "Few models at this price have {feature}.", "We added {feature} after many letters from {audience}.",
           "The {feat} of the {name} works well.", "Note the {feat} in the picture.",
           "A small detail ({feat}) makes the difference.", "\"{feat}\" is printed on the box.", "The box says \"{feat}\".", "With {feature} it is easy to use."]
PRICE = ["It costs {price}.", "The price is {price}.", "At {price}, it is worth it.", "You can have it for {price}.",
         "How much is the {name}? It costs {price}.", "The {name} costs {price} in our shop.",
         "For {price} you get a {category} that lasts.", "We sell it for {price}.", "{price} is a fair price.",
         "Priced at {price}, the {name} sells fast.", "The {category} ({price}) ships on {day}."]
AUDIENCE = ["It is made for {audience}.", "It suits {audience}.", "It is a good choice for {audience}.",
            "Who is the {name} for? It is for {audience}.", "{audience_cap} will like it.",
            "It was designed with {audience} in mind.", "Most of the people who buy it are {audience}.",
            "We recommend the {name} to {audience}.", "A gift for {audience}? Take the {name}.",
            "The sticker says \"{audience}\".", "The people we made it for ({audience}) voted for the {name}.",
            "Many {audience} use the {name} for {use}."]
CATEGORY = ["On the shelf it stands under \"{category}\".", "What is the {name}? It is {a_category}.",
            "As {a_category} it does its work.", "A simple thing ({category}), done well.",
            "Every home needs {a_category}.", "\"{category}\" is written on the parcel.",
            "The {name} is the {category} we sell most."]
USE = ["It is right for {use}.", "Use the {name} for {use}.", "Think of {use}.", "It was built for {use}.",
       "We like it most for {use}.", "For {use} there is nothing better."]
OTHER = ["It has {stars} stars from our customers.", "It weighs {weight}.", "It comes with a warranty of {years} years.",
         "It ships on {day}.", "The {name} weighs {weight}.", "Customers gave the {name} {stars} stars.",
         "The warranty of the {name} runs for {years} years.", "Order by {day} and it arrives the same week."]
CLOSINGS = ["So the {name} is {a_colour} {category} for {price}.", "That is the {name}: {colour}, {material}, {price}.",
            "In short, the {name} is {a_category} with {feature} for {audience}.", "The {name} is in stock now.",
            "All in all, {a_colour} {category} made of {material}.", "The {name} costs {price} and is worth every cent.",
            "Buy the {name} for {price} while we have it.", "The {name} has {feature}, costs {price} and suits {audience}."]
TOPICS = [COLOUR, MATERIAL, FEATURE, PRICE, AUDIENCE, CATEGORY, USE, OTHER]

REVIEW_OPENINGS = [
    "I bought the {name} in {colour} for {price}.", "My {name} came on {day}.", "We have had the {name} since {month}.",
    "I gave the {name} to a friend who lives with {audience}.", "I wanted {a_category} with {feature} and found the {name}.",
    "Three weeks with the {name}, {a_colour} {category}.", "The {name} is my second {category} made of {material}."]
REVIEW = ["I love the {feat}.", "The {colour} is lovely.", "The {material} feels good in the hand.",
          "For {price} I expected less.", "It has {feature}, just as the shop said.", "I use it for {use}.",
          "It really is {colour}.", "It is made of {material}, not plastic.", "I paid {price} and would do so again.",
          "A fine {category} for {audience}.", "The {feat} is better than I thought.", "I gave it {stars} stars.",
          "My {category} is {colour}, like in the picture.", "I would tell other {audience} to buy the {name}.",
          "The {name} is the best {category} I have had.", "It weighs {weight}, which is fine."]
SIGNATURES = ["{person}", "{person}, {month}", "Thank you! {person}", "Greetings, {person}"]

QUESTIONS = [
    ("What colour is the {name}?", ["It is {colour}.", "{colour_cap}.", "The {name} is {colour}."]),
    ("What is the {name} made of?", ["It is made of {material}.", "{material_cap}.", "The {name} is made of {material}."]),
    ("How much does the {name} cost?", ["It costs {price}.", "{price}.", "The {name} costs {price}."]),
    ("Who is the {name} for?", ["It is for {audience}.", "{audience_cap}.", "We made the {name} for {audience}."]),
    ("What is special about the {name}?", ["It has {feature}.", "The {feat}.", "The {name} comes with {feature}."]),
    ("What is the {name}?", ["It is {a_category}.", "{a_colour_cap} {category}.", "The {name} is {a_colour} {category}."]),
]

COMPARE_OPENINGS = [
    "We compared the {a[name]} and the {b[name]}.", "{a[name]} or {b[name]}? Both sell well.",
    "Two products stand side by side: the {a[name]} and the {b[name]}.",
    "{a[person]} bought the {a[name]}, {b[person]} bought the {b[name]}."]
COMPARE = [
    "The {a[name]} is {a[a_colour]} {a[category]}, the {b[name]} is {b[a_colour]} {b[category]}.",
    "The {a[name]} is made of {a[material]}, while the {b[name]} is made of {b[material]}.",
    "The {a[name]} costs {a[price]} and the {b[name]} costs {b[price]}.",
    "The {a[name]} has {a[feature]}; the {b[name]} has {b[feature]}.",
    "The {a[name]} is for {a[audience]}, the {b[name]} for {b[audience]}.",
    "The {b[name]} is {b[colour]}, but the {a[name]} is {a[colour]}.",
    "For {a[use]} take the {a[name]}, for {b[use]} the {b[name]}.",
    "With {b[feature]} and {b[material]}, the {b[name]} costs {b[price]}."]
COMPARE_CLOSINGS = ["For {a[audience]} we would choose the {a[name]}, {a[a_colour]} {a[category]}.",
                    "At {b[price]}, the {b[name]} wins.", "Both the {a[name]} and the {b[name]} are in stock.",
                    "{a[person]} keeps the {a[name]} for {a[price]}."]

GUIDE_OPENINGS = ["Gifts for {audience} this {month}.", "What we like in {month}.", "New on the shelf on {day}.",
                  "Our picks for {use}."]
GUIDE = ["The {name} ({price}) is {a_colour} {category} with {feature}.",
         "The {name}, {a_colour} {category} made of {material}, costs {price}.",
         "For {audience} there is the {name}, {a_category} in {colour} with {feature}.",
         "{name} ({colour}, {material}) is {a_category} for {price}.",
         "At {price} the {name} is {a_colour} {category} for {audience}."]


def fill(template, p):
    capital = {f"{key}_cap": p[key][0].upper() + p[key][1:] for key in ("audience", "colour", "material", "a_colour")}
    return template.format(**p, **capital)


def listing(draw, p):
    topics = draw.shuffled(TOPICS)[: 4 + draw.below(4)]
    body = [fill(draw.pick(topic), p) for topic in topics]
    for _ in range(2 if draw.chance(0.6) else 0):  # numbers are the hardest to copy: let them come back
        body.insert(draw.below(len(body) + 1), fill(draw.pick(PRICE), p))
    parts = [fill(draw.pick(OPENINGS), p), *body]
    if draw.chance(0.6):
        parts.append(fill(draw.pick(CLOSINGS), p))
    text = " ".join(parts)
    return fill(draw.pick(TITLES), p) + "\n" + text if draw.chance(0.5) else text


def review(draw, p):
    parts = [fill(draw.pick(OPENINGS), p) + "\n"] if draw.chance(0.5) else []
    parts.append(fill(draw.pick(REVIEW_OPENINGS), p))
    parts += [fill(t, p) for t in draw.shuffled(REVIEW)[: 4 + draw.below(4)]]
    if draw.chance(0.6):
        parts.insert(len(parts) - draw.below(3), fill("I paid {price} for it, the price in the shop was {price} too.", p))
    text = " ".join(parts).replace("\n ", "\n")
    return text + "\n" + fill(draw.pick(SIGNATURES), p) if draw.chance(0.5) else text


def questions(draw, p):
    parts = [fill(draw.pick(OPENINGS), p), fill(draw.pick(CLOSINGS), p), fill(draw.pick(PRICE if draw.chance(0.6) else draw.pick(TOPICS)), p)]
    lines = [" ".join(parts)]
    for question, answers in draw.shuffled(QUESTIONS)[: 3 + draw.below(3)]:
        lines.append(fill(question, p) + " " + fill(draw.pick(answers), p))
    return "\n".join(lines)


def comparison(draw, p, q):
    parts = [draw.pick(COMPARE_OPENINGS)] + draw.shuffled(COMPARE)[: 4 + draw.below(3)] + [draw.pick(COMPARE_CLOSINGS)]
    return " ".join(t.format(a=p, b=q) for t in parts)


def guide(draw, items):
    lines = [fill(draw.pick(GUIDE_OPENINGS), items[0])] + [fill(draw.pick(GUIDE), p) for p in items]
    again = draw.pick(items)
    lines.append(fill(draw.pick(draw.pick([COLOUR[5:6], MATERIAL[3:4], FEATURE[4:5], PRICE[4:5], AUDIENCE[3:4]])), again))
    return "\n".join(lines)


def document(draw, next_name):
    """One document about one to three products, each of a name that was not used before."""
    kind = draw.random()
    p = product(draw, next_name())
    if kind < 0.50:
        return listing(draw, p)
    if kind < 0.65:
        return review(draw, p)
    if kind < 0.82:
        return questions(draw, p)
    if kind < 0.92:
        return comparison(draw, p, product(draw, next_name(), p["category"] if draw.chance(0.4) else None))
    return guide(draw, [p, product(draw, next_name()), product(draw, next_name())])
