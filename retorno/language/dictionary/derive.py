"""How nouns.tsv is made: the common nouns of WordNet and their kinds, by rules and then by eye.

Fellbaum 1998, "WordNet: an electronic lexical database". A noun is taken when its first sense lies under one of
`KINDS`, that sense is by far the commonest of them, the word is seldom anything but a noun, and a word list for spell
checkers (SCOWL, Atkinson 2020) holds it among the common ones. What a reader then found odd is in `LEFT_OUT`.

    apt-get download wordnet-base scowl    # each: dpkg -x FILE.deb FOLDER
    python -m retorno.language.dictionary.derive FOLDER/usr/share/wordnet FOLDER/usr/share/dict/scowl
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

NOUNS = Path(__file__).with_name("nouns.tsv")
MOST = 70
"""No kind has more words: the commonest of them."""


class Kind(NamedTuple):
    """What an answer may say that a thing is."""

    name: str
    synsets: str
    """Under which senses it lies: a lemma and the number of its sense, as in "bird 1"."""
    mass: bool = False
    """Whether its words stand without an article: "gold is a metal"."""


KINDS = (
    Kind("bird", "bird 1"),
    Kind("fish", "fish 1, fish 2"),
    Kind("insect", "insect 1"),
    Kind("reptile", "reptile 1"),
    Kind("mammal", "mammal 1"),
    Kind("dog", "dog 1"),
    Kind("tree", "tree 1"),
    Kind("flower", "flower 1"),
    Kind("fruit", "edible_fruit 1"),
    Kind("vegetable", "vegetable 1"),
    Kind("drink", "beverage 1", mass=True),
    Kind("dish", "dish 2"),
    Kind("tool", "tool 1, kitchen_utensil 1"),
    Kind("weapon", "weapon 1"),
    Kind("vehicle", "vehicle 1"),
    Kind("boat", "vessel 2"),
    Kind("building", "building 1"),
    Kind("room", "room 1"),
    Kind("garment", "clothing 1, footwear 2"),
    Kind("piece of furniture", "furniture 1"),
    Kind("musical instrument", "musical_instrument 1"),
    Kind("container", "container 1"),
    Kind("machine", "machine 1"),
    Kind("fabric", "fabric 1", mass=True),
    Kind("metal", "metallic_element 1, alloy 1", mass=True),
    Kind("stone", "rock 2, gem 2, mineral 1", mass=True),
    Kind("sport", "sport 1", mass=True),
    Kind("dance", "dancing 1"),
    Kind("relative", "relative 1"),
    Kind("musician", "musician 1, musician 2"),
    Kind("criminal", "criminal 1"),
    Kind("scientist", "scientist 1"),
    Kind("doctor", "medical_practitioner 1"),
    Kind("soldier", "serviceman 1"),
    Kind("worker", "worker 1"),
    Kind("disease", "disease 1, illness 1", mass=True),
    Kind("bone", "bone 1"),
    Kind("part of the body", "body_part 1"),
    Kind("unit of measure", "unit_of_measurement 1"),
    Kind("science", "discipline 1", mass=True),
    Kind("feeling", "emotion 1", mass=True),
    Kind("coin", "coin 1, monetary_unit 1"),
    Kind("crime", "crime 1", mass=True),
    Kind("road", "road 1"),
    Kind("body of water", "body_of_water 1"),
)

MORE_GENERAL = (
    Kind("animal", "animal 1"),
    Kind("plant", "plant 2"),
    Kind("food", "food 1, food 2"),
    Kind("person", "person 1"),
    Kind("substance", "substance 1, substance 7"),
    Kind("structure", "structure 1"),
    Kind("device", "device 1"),
)
"""True as well where it is said, though no noun's own kind."""

LEFT_OUT = frozenset(
    """
    abattoir abduction abductor abettor abhorrence abortionist accompanist accomplice acumen adapter ague aide
    airbrush alb alcohol alleyway alloy altar amalgam ambassador amorousness ancestress angling animus antler anus
    apparel appendage arbor arborvitae are asbestos asp ass assembly assessor athlete athletics atomizer attire
    auger auxiliary babe babushka baby back backwater baggage baize bale balladeer bandanna baptistery basso bath
    batik beak beanbag beater beatitude bedpan belligerence belligerency beltway beneficence bereavement berry
    beverage bib biddy bidet bier bigamist bird birdbath bladder blaster bleacher blessedness bloomer bluebottle
    bluejacket boa boat bobwhite bodice boiler bola bombard bombardier bone bonsai booth booze bordello borer bowel
    box brassiere bravo breadwinner breast brew bride bridegroom bridesmaid britches brogan brogue brontosaur
    brothel bruin buckboard buckshot buckskin bucktooth budgie bug building bumper bunk bunny bureaucrat burka
    burnoose busby buttock byplay byway cab caboose caddie calamine calypso canteen canvasback carbuncle carillon
    carnivore caroler carriageway cartilage cash cassette cassia castanets catchall cattle causeway celesta censer
    cervix cesspool chalice chanter charger chatterbox checkroom cherub chick chigger chilly chino chocolate
    choreography chrome chrysalis citron citrus civics civvies classicism claw clitoris clodhopper cloth clothing
    coccyx cockleshell coffin cog coin collaborator colon commando compact composer concentrate conductor
    confessional consort conspirator constrictor consul container cootie corsair cosmogony costume coursing coverall
    covetousness cowpox cox craft creel crime criminal crinoline crooner croup crucible cuckold cur currant cuspid
    cutlery dacha dad dashiki deacon deaconess decoy demitasse denim derby derriere desperado detestation detour
    dhoti diadem diagnostics dialectic diffidence diplomat dipper discipline discomfiture discomposure disease dish
    dishcloth dishrag dishtowel displeasure diva doc doctor dog doggy domino doublet drachma dray drone ducking duct
    dudgeon duffer dug dungaree dwarfism eaglet earner edginess edifice eggbeater emery emotion employee emu
    engraver entire entrails enviousness erg escapee eschatology etymologist eugenics experimenter extremity
    exultation fabric fanny fearfulness feeler feldspar feller felon fen fibroid finery firearm firebug firetrap
    firewater fish fiver fixer flab flatbed flimflam flower flunky fodder footlocker footwear forbear ford
    forefather foreleg foresail foreskin forger fowl freebooter freelancer frock fruit fuller furniture fuzz
    gaberdine gaiter gal galena galosh gamecock garb garment gee gemstone genitalia genitals geometer getup ghoul
    gig gimlet girdle gizzard gland gofer goiter gown grad grammarian granny graphology grapnel gravel graver
    grenadier grippe gristle grit grog groin grub grudge guardroom gullet gun gunner gunny gunnysack gut gyp gyro
    hackney hairnet hairpiece haler hamstring handkerchief hanger hankie hansom harassment harrow harvester hash
    haunch headdress headgear heartstrings heckle heliotrope helpmate henchman heroine hesitancy hickey hind hip
    hoagie hod hogshead holdover holly holography homemaker homeroom honeymooner hooch hood hoof hopper horseback
    hose hosiery hostelry househusband housewife hubby humanities humankind hunter hunting hurling hyacinth
    hygienist hypnotist illness infant infanticide infraction inhaler innards inquietude insect insectivore
    interceptor investigator irascibility ire isinglass jib jinrikisha jockstrap john joint jowl joyfulness
    joyousness julienne jumpiness jumping kamikaze karakul karaoke kinswoman kiosk kipper kitchenware knacker
    knickers knitwear knuckles labia lamasery lander lap launch laundry lawbreaker lea leaflet leatherneck lectern
    legume lichen lid lifesaver limb lingerie liquidator lira lisle livestock loader lobe locker logger loincloth
    loins longhorn lox luggage machine machinery mackinaw mackintosh macrobiotics mademoiselle madhouse magistrate
    magma magnesia magneto magnum mainframe mainsail malefactor malevolence malice malignancy malignity malnutrition
    mamma mammal manger mankind mannequin manse mantilla mapper marchioness marsupial math matricide matron maul
    maxilla mayhem membrane merchantman merino metal metaphysics methodology middy midriff midwifery miler milker
    mimicry mineral minim minster minstrel misanthropy misdemeanor misogyny mitt moire molestation moll mom moneybag
    morphology moth mouser mover mower muff muller mulligatawny mummy murderess muscatel musician mutt muumuu
    needlepoint negligee neonate newlywed nibble nickelodeon nightclothes nipple nirvana nit noncom numerology
    officer official oilcloth oilskin orangeade organ orifice ormolu orthopedist pachyderm pantie pantomime
    pantyhose papa papoose parkway parolee parricide pastern patricide paunch paw peafowl pelvis penis peon percale
    perfecter periwig perpetration persona pestilence pew phalanx pharmacology philter phrenology pike pilferer
    pilothouse pimple pinkie pinto pitchblende placket plagiarist plunderer pock poi poignancy polisher polonaise
    polygamist porringer potbelly potion potpie pottage poultry pound pox prancer premonition presentiment prickle
    progenitor progeny projectile prompter prostitution psalmist punk pupa purser pustule pyx quack qualm queen rag
    raglan raiment ranker rapist rasher rathskeller rattler reaper rebel receptacle recidivist rectum reenactment
    reeve refectory reptile researcher restiveness retrorocket rill ripper ritualism road roadway rodent roentgen
    room rummer rump runnel russet sackcloth sacristy sailcloth salter salver sandbag sandblaster sandbox
    sarcophagus sassafras satinwood scad scarab scat science scientist scion scofflaw scow scrod scrofula scullery
    sculling scuttle seabird serpent servant serviceman setter sextant shad sheaf sheller shinny ship shipwreck
    shirtwaist shook shortcut shorthorn showboat shunt sickbed sickness sidecar sierra simulator sinew sir sixpence
    skit slaw sleepwear slicker smoother snout soapbox soldier songbird songster songwriter speakeasy specie
    spinnaker spitball spitefulness spittoon sportswear spouse spreader spud squeezer staffer stall starter stater
    steeper sterilizer stickup stole stone strangles subordinate sulky sultana sump surplice suspender swallowtail
    swatch sweatpants swine tabulator tail talon tam tamp tanner tantrum taproom tarp tarpaulin tatter teargas teat
    telex temp termite terry testicle textile thievery thoroughfare thrill thruway tights timpani tissue tit togs
    tollbooth tool topknot topsail toque torso toupee towel toxemia traitor trapper trawler tree troika trolling
    trouser trousseau truckle trunk tumbling tumbrel tummy tumor tun tunic turban turtle tush tux udder umbrage
    underclothes underpants underwear undies uterus vagina vegetable veggie vehicle veneration ventricle vessel
    vestment vet veteran viand vigilante vintage viol violation violator viscountess warbler warpath washables
    wassail watercourse waterfowl waterway weapon website whorehouse willies wimple windburn windfall wolfram womb
    woodwind worker workhorse workman wraparound wrapper yap yoke zit
    """.split()
)
"""By eye: archaic, vulgar or double meanings, and what is no member of its kind but another word for it."""

COUNTED = frozenset(
    "cocktail daiquiri highball julep latte martini margarita aperitif toddy decaf espresso cappuccino liqueur "
    "holdup cataract opal agate carcinoma melanoma sarcoma lymphoma felony "
    "garnet moonstone rhinestone polyp scam".split()
)
"""Words of a mass kind that take an article."""

UNCOUNTED = frozenset(
    "broth goulash spaghetti lasagna borscht chili chowder coleslaw custard gazpacho gruel minestrone oatmeal pasta "
    "pizza porridge sauerkraut sushi succotash sukiyaki tempura bouillon soup curry fondue applesauce scampi pilaf "
    "escarole romaine rhubarb vichyssoise ragout fricassee celery spinach".split()
)
"""Words of other kinds that take none."""

NOT_ALSO = {
    ("vehicle", "container"),
    ("vehicle", "room"),
    ("boat", "container"),
    ("dance", "science"),
    ("dish", "container"),
    ("garment", "room"),
    ("garment", "feeling"),
}
"""WordNet files cars under containers."""

LIKE_YOU = ("uni", "use", "uk", "eu", "ewe", "ura", "uro")
"""What sounds as "you" does at the beginning of a word takes "a"."""


class Sense(NamedTuple):
    """A meaning that words share: a synset."""

    words: tuple[str, ...]
    more_general: tuple[str, ...]
    instance: bool
    gloss: str


class WordNet:
    """The nouns of WordNet, from the files of its distribution (wndb(5WN))."""

    def __init__(self, folder: Path) -> None:
        self.senses = {offset: sense for offset, sense in self._read_senses(folder / "data.noun")}
        self.index = {
            fields[0]: fields[-int(fields[2]) :] for fields in self._fields(folder / "index.noun")
        }  # lemma → offsets, the commonest first
        self.seen: Counter[tuple[str, int]] = Counter()
        """How often each sense of a noun was met in tagged text."""
        self.other: Counter[tuple[str, str]] = Counter()
        """How often a word was met as which part of speech: 1 noun, 2 verb, 3 and 5 adjective."""
        for fields in self._fields(folder / "cntlist.rev"):
            lemma, rest = fields[0].split("%")
            self.other[lemma, rest[0]] += int(fields[2])
            if rest[0] == "1":
                self.seen[lemma, int(fields[1]) - 1] = int(fields[2])
        self.adjectives = {fields[0] for fields in self._fields(folder / "index.adj")}
        self.plurals = {fields[0] for fields in self._fields(folder / "noun.exc")}

    @staticmethod
    def _fields(file: Path) -> Iterator[list[str]]:
        for line in file.read_text(encoding="latin-1").splitlines():
            if not line.startswith("  "):  # The licence.
                yield line.split()

    @staticmethod
    def _read_senses(file: Path) -> Iterator[tuple[str, Sense]]:
        for line in file.read_text(encoding="latin-1").splitlines():
            if line.startswith("  "):
                continue
            said, gloss = line.split(" | ", 1)
            fields = said.split()
            count = int(fields[3], 16)
            at = 4 + 2 * count
            pointers = [fields[at + 1 + 4 * i : at + 5 + 4 * i] for i in range(int(fields[at]))]
            above = tuple(p[1] for p in pointers if p[0] == "@")
            yield fields[0], Sense(tuple(fields[4:at:2]), above, any(p[0] == "@i" for p in pointers), gloss)

    def above(self, offset: str) -> list[str]:
        """A sense and all that are more general, the nearest first."""
        found = [offset]
        for each in found:
            found += [higher for higher in self.senses[each].more_general if higher not in found]
        return found


def kinds_of(net: WordNet, roots: dict[str, str], offset: str) -> list[str]:
    """The kinds under which a sense lies, the nearest first."""
    return list(dict.fromkeys(roots[higher] for higher in net.above(offset) if higher in roots))


def judged(net: WordNet, roots: dict[str, str], word: str) -> list[str]:
    """A noun's kinds, the main one first; none where it is no clear noun of any.

    Args:
        net: WordNet.
        roots: the kinds by their synsets.
        word: as it is written.
    """
    offsets = [x for x in net.index[word] if word in net.senses[x].words and not net.senses[x].instance]
    if not offsets:
        return []
    first = net.senses[offsets[0]]
    kinds = [kinds_of(net, roots, offset) for offset in offsets]
    if (
        not kinds[0]
        or kinds[0][0] not in {kind.name for kind in KINDS}
        or first.instance
        or word not in first.words
        or word in net.plurals
    ):
        return []
    main = kinds[0][0]
    seen = [net.seen[word, net.index[word].index(x)] for x in offsets]
    alike = [main in each for each in kinds]
    total, mine = sum(seen), sum(count for count, same in zip(seen, alike, strict=True) if same)
    if mine < 0.7 * total if total else len(offsets) > 3 or 2 * sum(alike) < len(offsets):
        return []
    if word in net.adjectives and max(net.other[word, "3"], net.other[word, "5"]) >= total:
        return []
    if net.other[word, "2"] > total or (word.endswith("ing") and main != "sport"):
        return []
    if word.endswith("s") and not word.endswith("ss") and (word[:-1] in net.index or word[:-2] in net.index):
        return []
    if re.search(r"\((ethnic slur|offensive|slang|plural)|derogat|vulgar|obscene", first.gloss):
        return []
    # What is true of a rarer sense is no lie: a beetle is an insect, and a tool.
    general = {kind.name for kind in MORE_GENERAL}
    rarer = [kind for each in kinds[1:3] for kind in each if kind not in general]
    return [kind for kind in dict.fromkeys(kinds[0] + rarer) if (main, kind) not in NOT_ALSO]


def common(folder: Path) -> dict[str, int]:
    """The words of SCOWL by how common they are: 10 the commonest."""
    words: dict[str, int] = {}
    for level in (10, 20, 35, 40, 50):
        for variety in ("english", "american"):
            for word in (folder / f"{variety}-words.{level}").read_text(encoding="latin-1").split():
                words.setdefault(word, level)
    return words


def article(word: str, kind: Kind) -> str:
    """What stands before a word: "a", "an", or nothing."""
    if word in UNCOUNTED or (kind.mass and word not in COUNTED):
        return ""
    return "an" if word[0] in "aeiou" and not word.startswith(LIKE_YOU) else "a"


def main(wordnet: Path, scowl: Path) -> None:
    """Write nouns.tsv."""
    net, levels = WordNet(wordnet), common(scowl)
    roots = {}
    for kind in (*KINDS, *MORE_GENERAL):
        for synset in kind.synsets.split(", "):
            lemma, number = synset.split()
            roots[net.index[lemma][int(number) - 1]] = kind.name
    found: dict[str, list[tuple[int, int, str, list[str]]]] = {kind.name: [] for kind in KINDS}
    for word, level in levels.items():
        if word not in net.index or word in LEFT_OUT or not re.fullmatch("[a-z]{3,12}", word):
            continue
        if kinds := judged(net, roots, word):
            found[kinds[0]].append((level, -sum(net.seen[word, i] for i in range(9)), word, kinds))
    lines = []
    for kind in KINDS:
        for _, _, word, kinds in sorted(found[kind.name])[:MOST]:
            lines.append((word, article(word, kind), kind.name, ", ".join(kinds[1:])))
    head, _, _ = NOUNS.read_text(encoding="utf-8").partition("word\t")
    text = "\n".join("\t".join(line) for line in [("word", "article", "kind", "also"), *sorted(lines)])
    NOUNS.write_text(f"{head}{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
