"""What is said: commands with intents, requests with slots, and sentences of several languages, all drawn."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Final

from numpy.random import Generator

from pegbox.errors import RecipeError, nearest


@dataclass(frozen=True)
class Command:
    """A command and what it means."""

    text: str
    action: str
    object: str
    location: str


_VERBS: Final[Mapping[str, Sequence[str]]] = {
    "activate": ("turn on {}", "switch on {}", "switch {} on", "turn {} on", "i need {} on"),
    "deactivate": ("turn off {}", "switch off {}", "switch {} off", "turn {} off", "i want {} off"),
    "increase": ("turn up {}", "turn {} up", "increase {}", "i need more of {}", "raise {}"),
    "decrease": ("turn down {}", "turn {} down", "decrease {}", "i need less of {}", "lower {}"),
    "bring": ("bring me {}", "get me {}", "fetch {}", "could you bring {}", "i want {} here"),
}
_THINGS: Final[Mapping[str, Sequence[str]]] = {
    "lights": ("the lights", "the lamps"),
    "music": ("the music", "the songs"),
    "heat": ("the heat", "the heating"),
    "volume": ("the volume", "the sound"),
    "newspaper": ("the newspaper", "my paper"),
    "shoes": ("the shoes", "my boots"),
}
_PLACES: Final[Mapping[str, str]] = {
    "none": "",
    "kitchen": " in the kitchen",
    "bedroom": " in the bedroom",
    "washroom": " in the washroom",
}
INTENTS: Final = (
    *((verb, "lights", place) for verb in ("activate", "deactivate") for place in _PLACES),
    *((verb, "heat", place) for verb in ("increase", "decrease") for place in _PLACES),
    *((verb, "music", "none") for verb in ("activate", "deactivate")),
    *((verb, "volume", "none") for verb in ("increase", "decrease")),
    *(("bring", thing, "none") for thing in ("newspaper", "shoes")),
)


def command(draw: Generator, number: int | None = None) -> Command:
    """Returns a command in one of its wordings; `number` says which of `INTENTS`, else it is drawn."""
    action, thing, place = INTENTS[int(draw.integers(len(INTENTS))) if number is None else number]
    wording, name = _one(draw, _VERBS[action]), _one(draw, _THINGS[thing])
    return Command(wording.format(name) + _PLACES[place], action, thing, place)


_FILLERS: Final[Mapping[str, Sequence[str]]] = {
    "artist": ("the beatles", "miles davis", "nina simone", "queen", "daft punk", "johnny cash"),
    "service": ("spotify", "youtube", "the radio"),
    "city": ("paris", "new york", "berlin", "san francisco", "tokyo", "cairo"),
    "time": ("tomorrow", "tonight", "next week", "in two hours", "on friday"),
    "people": ("two", "four", "six", "ten"),
    "restaurant": ("restaurant", "bar", "steakhouse", "pizza place"),
    "book": ("the old tree", "a cold winter", "seven rivers", "the last train"),
    "rating": ("one", "three", "four", "five"),
    "playlist": ("party mix", "slow morning", "road trip", "deep focus"),
}
REQUESTS: Final[Mapping[str, Sequence[str]]] = {
    "play": ("play {artist} on {service}", "put on {artist}", "i want to hear {artist} from {service}"),
    "weather": ("what is the weather in {city} {time}", "will it rain {time} in {city}", "is it cold in {city}"),
    "reserve": ("book a {restaurant} in {city} for {people}", "find a {restaurant} for {people} people {time}"),
    "rate": ("give {book} {rating} stars", "rate {book} a {rating}", "i think {book} is worth {rating} points"),
    "add": ("add {artist} to {playlist}", "put this song on my list {playlist}"),
}


def request(draw: Generator, number: int) -> tuple[str, list[str], list[str]]:
    """Returns an intent (in turn), the words of a request, and a slot a word, 'O' where there is none."""
    intent = list(REQUESTS)[number % len(REQUESTS)]
    words, tags = list[str](), list[str]()
    for part in _one(draw, REQUESTS[intent]).split():
        slot = part.strip("{}") if part.startswith("{") else None
        said = _one(draw, _FILLERS[slot]).split() if slot else [part]
        words += said
        tags += [slot or "O"] * len(said)
    return intent, words, tags


# Subject, verb, object, end: every combination is a sentence, so there is no lack of them.
_SENTENCES: Final[Mapping[str, Sequence[Sequence[str]]]] = {
    "en-us": (
        (
            "the boy",
            "my sister",
            "an old man",
            "our neighbour",
            "the teacher",
            "a young doctor",
            "the farmer",
            "her cat",
        ),
        ("sees", "finds", "carries", "wants", "paints", "forgets", "washes", "follows"),
        (
            "the blue house",
            "a small boat",
            "three apples",
            "the letter",
            "a heavy box",
            "the green chair",
            "some cheese",
        ),
        ("in the morning", "every day", "by the river", "without a word", "after the rain", "at school", "with joy"),
    ),
    "de": (
        ("der junge", "meine schwester", "ein alter mann", "unser nachbar", "die lehrerin", "der bauer"),
        ("sieht", "findet", "holt", "malt", "vergisst", "wäscht"),
        ("das blaue haus", "ein kleines boot", "drei äpfel", "den brief", "eine schwere kiste", "den grünen stuhl"),
        ("am morgen", "jeden tag", "am fluss", "ohne ein wort", "nach dem regen", "in der schule"),
    ),
    "fr": (
        ("le garçon", "ma sœur", "un vieil homme", "notre voisin", "la maîtresse", "le fermier"),
        ("voit", "trouve", "porte", "peint", "oublie", "lave"),
        ("la maison bleue", "un petit bateau", "trois pommes", "la lettre", "une caisse lourde", "la chaise verte"),
        ("le matin", "chaque jour", "près de la rivière", "sans un mot", "après la pluie", "à l'école"),
    ),
    "es": (
        ("el niño", "mi hermana", "un hombre viejo", "nuestro vecino", "la maestra", "el granjero"),
        ("ve", "encuentra", "lleva", "pinta", "olvida", "lava"),
        ("la casa azul", "un barco pequeño", "tres manzanas", "la carta", "una caja pesada", "la silla verde"),
        ("por la mañana", "cada día", "junto al río", "sin una palabra", "después de la lluvia", "en la escuela"),
    ),
    "it": (
        ("il ragazzo", "mia sorella", "un vecchio", "il nostro vicino", "la maestra", "il contadino"),
        ("vede", "trova", "porta", "dipinge", "dimentica", "lava"),
        ("la casa blu", "una piccola barca", "tre mele", "la lettera", "una cassa pesante", "la sedia verde"),
        ("di mattina", "ogni giorno", "vicino al fiume", "senza una parola", "dopo la pioggia", "a scuola"),
    ),
    "pl": (
        ("chłopiec", "moja siostra", "stary człowiek", "nasz sąsiad", "nauczycielka", "rolnik"),
        ("widzi", "znajduje", "niesie", "maluje", "myje", "kupuje"),
        ("niebieski dom", "małą łódkę", "trzy jabłka", "list", "ciężką skrzynię", "zielone krzesło"),
        ("rano", "codziennie", "nad rzeką", "bez słowa", "po deszczu", "w szkole"),
    ),
}


def sentence(draw: Generator, language: str) -> str:
    """Returns a sentence of a known language, in lower case and without punctuation."""
    return " ".join(_one(draw, part) for part in _SENTENCES[language])


def sentences(language: str) -> int:
    """Returns how many sentences of a known language there are."""
    return prod(len(part) for part in _SENTENCES[language])


def known(languages: Iterable[str]) -> None:
    """Refuses languages that Pegbox has no words of."""
    for language in languages:
        if language not in _SENTENCES:
            raise RecipeError(f"no words of the language '{language}'{nearest(language, _SENTENCES)}")


def _one(draw: Generator, choices: Sequence[str]) -> str:
    return choices[int(draw.integers(len(choices)))]
