"""Short texts for the scripted provider to stream: the same question gets the same answer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from zlib import crc32


@dataclass(frozen=True)
class Passage:
    topic: str
    thought: str
    answer: str
    points: tuple[str, str, str]


PASSAGES = (
    Passage(
        "tides tide sea ocean moon water coast harbour",
        "The question is about the sea, so the Moon comes first and the Sun second. I should explain why there are "
        "two high tides a day and not one, because that is what surprises people.",
        "Tides are the sea's answer to the Moon. The Moon pulls a little harder on the near side of the Earth than on "
        "its centre, and a little less on the far side, so the water heaps up in two places at once. The Earth turns "
        "beneath both bulges, and most coasts meet high water twice a day. The Sun does the same with less force: "
        "when it stands in line with the Moon the tides are large, and when it stands at a right angle they are "
        "small. What a harbour really sees depends on the shape of its coast, which is why one bay rises fifteen "
        "metres and another hardly moves.",
        ("the Moon's uneven pull", "two bulges of water", "the shape of the coast"),
    ),
    Passage(
        "sky blue light sun sunset colour color red scatter",
        "This is a question about scattering. The short wavelengths are scattered most, but then the sky should be "
        "violet, so I ought to say why it is not.",
        "Sunlight is a mixture of colours, and air does not treat them alike. Its molecules scatter short waves far "
        "more than long ones: blue light is thrown about in all directions and reaches the eye from everywhere, "
        "while red goes almost straight through. Violet is scattered even more, but the Sun sends less of it and our "
        "eyes see it poorly. In the evening the light crosses so much air that the blue is gone before it arrives, "
        "and what is left is orange and red.",
        ("short waves scatter most", "eyes see little violet", "long paths leave red"),
    ),
    Passage(
        "lighthouse lighthouses lens fresnel light ship ships lamp beam",
        "The interesting part is the lens, not the lamp. A short history and one plain physical reason will do.",
        "A lighthouse is less a lamp than a lens. Early keepers burned coal and oil, and most of the light went up "
        "into the clouds. In 1822 Augustin Fresnel built a lens from rings of glass, each bending the light a little "
        "more than the one inside it, so that nearly all of it left in a level beam. A flame no brighter than a "
        "bicycle lamp could then be seen from thirty kilometres. The lens turned on a bath of mercury, and its rhythm "
        "told a captain which lighthouse he was looking at.",
        ("rings of glass", "a level beam", "a rhythm of its own"),
    ),
    Passage(
        "bread sourdough dough yeast flour bake baking oven",
        "I can answer this in the order in which a baker works: the culture, the dough, the oven.",
        "Sourdough rises without baker's yeast because flour brings its own. Mixed with water and left alone, wild "
        "yeasts and lactic bacteria settle into a stable household: the yeasts make the gas, and the bacteria make "
        "the acid that keeps strangers out. The dough is slow, and the slowness is the point. Enzymes have a night to "
        "turn starch into sugar and to loosen the proteins, which gives the crust its colour and the crumb its chew. "
        "In the oven the last burst of gas lifts the loaf before the heat sets it.",
        ("wild yeast", "acid from bacteria", "a slow night"),
    ),
    Passage(
        "bridge bridges steel gap joint expansion heat train rails",
        "Thermal expansion is the heart of it. One number makes it concrete: about one millimetre per metre for "
        "eighty degrees of steel.",
        "Bridges have gaps because steel does not keep its length. A span of a hundred metres is about five "
        "centimetres longer in July than in January, and nothing built at its ends could stop it. So the engineer "
        "gives way on purpose: one end rests on rollers, and a toothed joint in the road opens and closes like "
        "folded hands. The sound of wheels crossing it is the bridge telling the temperature.",
        ("steel grows with heat", "rollers at one end", "a joint with teeth"),
    ),
    Passage(
        "bee bees honey hive dance flower flowers honeybee",
        "The waggle dance is the best known fact here. I should give both pieces of information it carries: "
        "direction and distance.",
        "A honeybee that has found flowers comes home and dances in the dark. She runs straight, waggling, circles "
        "back and runs again. The angle of the run against gravity is the angle of the flowers against the Sun, and "
        "its length tells how far to fly: about a second for each kilometre. Her sisters follow with their antennae, "
        "and some of them leave at once. The better the nectar, the longer she dances, so a good meadow draws a crowd "
        "and a poor one is forgotten.",
        ("angle tells direction", "length tells distance", "enthusiasm tells quality"),
    ),
    Passage(
        "stream streams token tokens latency model slow fast stall streaming provider",
        "I should separate what the reader notices first from what decides how the rest feels, and then say who may "
        "be to blame for a pause.",
        "A streamed answer has two speeds. The first is the wait until anything appears, and a reader forgives about "
        "a second of it. The second is the rhythm of what follows: even gaps read like speech, while the same number "
        "of words in bursts feels broken. When a pause comes, someone is slow. If the program was waiting for the "
        "provider, the provider was; if the words had already arrived and nobody asked for them, the program was. "
        "Averages hide both, so look at one stream at a time before you look at all of them.",
        ("the first token", "an even rhythm", "who was waiting"),
    ),
    Passage(
        "print printing press book books type gutenberg paper library",
        "The press itself is not the invention that mattered most; the type is. I will say so and name what followed.",
        "Gutenberg's press was a wine press with better manners. What he really invented was the type: letters cast "
        "in a mould, all of one height, that could be set in the morning, printed at noon and set again as another "
        "page. A scribe made one book in months; a shop made hundreds in the same time, and all of them agreed. "
        "Errors could now be corrected once for everyone, and so could ideas. Within fifty years there were more "
        "books in Europe than had been copied in the thousand years before.",
        ("movable type", "copies that agree", "errors corrected once"),
    ),
)


def passage_for(question: str) -> Passage:
    """The passage that shares most words with the question; by its checksum where none does."""
    words = set(re.findall(r"[a-z]+", question.lower()))
    best = max(PASSAGES, key=lambda passage: len(words & set(passage.topic.split())))
    if words & set(best.topic.split()):
        return best
    return PASSAGES[crc32(question.encode()) % len(PASSAGES)]


def token_like(text: str) -> list[str]:
    """Cut a text into pieces of about the size of a token; joined they are the text again."""
    return re.findall(r"\s*\w{1,7}|\s*[^\w\s]|\s+", text)


def text_of(message: Any) -> str:
    """The text of a chat message, whose content is a string or a list of parts."""
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""
