"""Concepts from the real WordNet 3.0: Table 1's counts, one's own sets, CSV files, automatic cuts, command line."""

import hashlib
import itertools
import os
import re
import shutil
import statistics
import subprocess
import sys
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from test_data import zip_of

from hrrl import concepts
from hrrl.concepts import wordnet
from hrrl.concepts.hypernyms import find_wnid
from hrrl.data.manifest import Manifest, Rows
from hrrl.data.sources import Paths
from hrrl.data.synsets import SHIPPED
from hrrl.errors import UserError
from hrrl.settings.schema import Dataset
from scripts import concepts_table

SYNSETS = SHIPPED["fashion_mnist"]
FASHION = {"garment": "clothing.n.01", "footwear": "footwear.n.02", "container": "container.n.01"}
FASHION = [{"name": name, "synset": synset} for name, synset in FASHION.items()]


@pytest.fixture(scope="module")
def ilsvrc12():
    return concepts.ilsvrc12_wnids()


def test_table_1(ilsvrc12):
    counts = Counter(concepts.group_wnids(ilsvrc12).values())
    assert len(set(ilsvrc12)) == 1000
    assert [counts[name] for name in concepts.CONCEPTS] == [121, 107, 59, 56, 129, 118, 106, 100, 57, 67, 80]


def test_well_known_classes():
    known = {
        "n03770679": "vehicle",  # minivan: a wheeled vehicle is a container, too
        "n03773504": "vehicle",  # missile: a device, too
        "n01443537": "animal",  # goldfish
        "n02088364": "dog",  # beagle
        "n02114367": "mammal",  # timber wolf: a canine, not a dog
        "n02699494": "structure",  # altar
        "n04379243": "instrumentality",  # table-tennis table
        "n04133789": "artifact",  # sandal
        "n07753592": "others",  # banana
    }
    assert concepts.group_wnids(known) == known


@pytest.mark.parametrize("wnid", ["n00000001", "n0208407", "02084071", "dog", "n02084071 "])
def test_unknown_wnid_is_named(wnid):
    with pytest.raises(UserError, match=f"wnid '{wnid}' is not in WordNet 3.0"):
        concepts.group_wnids(["n02084071", wnid])


def test_the_most_specific_concept_wins_in_any_order_and_the_order_decides_the_rest():
    beagle, minivan = "n02088364", "n03770679"
    animal, dog = {"name": "animal", "synset": "animal.n.01"}, {"name": "dog", "synset": "dog.n.01"}
    vehicle, container = {"name": "vehicle", "synset": "vehicle.n.01"}, FASHION[2]
    for nested in ([animal, dog], [dog, animal]):
        assert concepts.group_wnids([beagle], nested)[beagle] == "dog"
    assert concepts.group_wnids([minivan], [vehicle, container])[minivan] == "vehicle"
    assert concepts.group_wnids([minivan], [container, vehicle])[minivan] == "container"
    assert concepts.group_wnids([minivan], [animal])[minivan] == "others"


def test_a_synset_comes_before_the_wnid_and_a_concept_may_have_several():
    pets = [{"name": "pet", "synset": "dog.n.01"}, {"name": "pet", "synset": "cat.n.01"}]
    mapping = concepts.group_classes(["a", "b"], ["n02088364", "n02088364"], {"b": "banana.n.02"}, pets)
    assert mapping == {"a": "pet", "b": "others"}
    assert concepts.concept_order(pets) == ["pet", "others"]


SIX = (
    r"are vehicle\.n\.01 \(a conveyance that transports people or o\), (\S+ \([^)]+\), ){4}head_covering\.n\.01 \(.*\)$"
)


@pytest.mark.parametrize(
    ("synset", "hint"),
    [("vehicle.n.09", "vehicle.n.02"), ("vehicel.n.01", SIX), ("dog", "dog.n.01"), ("dog.n.00", "dog.n.01")],
)
def test_an_unknown_synset_gets_the_nearest_names(synset, hint):
    with pytest.raises(UserError, match=f"thing: there is no noun synset '{synset}'.*{hint}"):
        concepts.group_wnids(["n02088364"], [{"name": "thing", "synset": synset}])
    with pytest.raises(UserError, match=f"^synsets: class 'a': there is no noun synset '{synset}'"):
        concepts.group_classes(["a"], None, {"a": synset}, FASHION)


def test_a_class_without_wnid_or_synset_is_named():
    with pytest.raises(UserError, match=r"class 'Bag' has no wnid.*datasets\.<name>\.synsets.*csv"):
        concepts.group_classes(["Coat", "Bag"], None, {"Coat": "coat.n.01"}, FASHION)
    for twice in (["Coat", "Coat"], ["caf\u00e9", "cafe\u0301"]):
        with pytest.raises(UserError, match=f"more than one class is named '{twice[0]}'"):
            concepts.group_classes(twice, None, SYNSETS, FASHION)


def test_only_concepts_with_classes_are_trained_on():
    mapping = {"a": "dog", "b": "others", "c": "bird"}
    assert concepts.concept_order("table1") == list(concepts.CONCEPTS)
    names, ids = concepts.class_concepts(mapping, ["b", "c", "a"], concepts.concept_order("table1"))
    assert (names, ids) == (["bird", "dog", "others"], [2, 0, 1])


@pytest.mark.parametrize(("name", "word"), [("Run.n.99", "run"), ("eat.n.01", None)])
def test_a_hint_has_at_most_six_synsets_all_of_nouns(name, word):
    """Of the word itself, also where it is a verb as well, or of words that are written much like it."""
    with pytest.raises(UserError) as error:
        concepts.find_synset(name)
    nearest = re.findall(r"([\w'.-]+\.[nvasr]\.\d\d) \(", str(error.value))
    assert 0 < len(nearest) <= 6
    assert {synset.split(".")[1] for synset in nearest} == {"n"}
    if word:
        assert nearest == [synset.name() for synset in wordnet.open_wordnet().synsets(word, "n")[:6]]


def test_an_unknown_wnid_is_an_error_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserError, match="wnid 'n99999999' is not in WordNet"):
            find_wnid("n99999999")


def test_csv(tmp_path, monkeypatch):
    file = tmp_path / "concepts.csv"
    file.write_text("class,concept\nBag,thing\nn02088364,others\n\nCoat,garment\n")
    monkeypatch.setenv("LISTS", str(tmp_path))
    setting = {"csv": "$LISTS/concepts.csv"}
    mapping = concepts.group_classes(["Coat", "beagle", "Bag"], [None, "n02088364", None], {}, setting)
    assert mapping == {"Coat": "garment", "beagle": "others", "Bag": "thing"}
    assert concepts.concept_order(setting) == ["thing", "garment", "others"]
    assert concepts.csv_file.sha256(setting) == hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class,concept\nCoat,garment\n", "no concept for class 'Bag'"),
        ("class,concept\nCoat,a\nBag,b\nHat,c\n", "the dataset has no class 'Hat'"),
        ("class,concept\nCoat,a\nBag,\n", "line 3: 'Bag,'"),
        ("class,concept\nCoat,a\nCoat,b\nBag,b\n", "line 3: class 'Coat' is both 'a' and 'b'"),
    ],
)
def test_csv_errors_name_file_and_class(tmp_path, text, message):
    file = tmp_path / "concepts.csv"
    file.write_text(text)
    with pytest.raises(UserError, match=message) as error:
        concepts.group_classes(["Coat", "Bag"], None, {}, {"csv": str(file)})
    assert str(file) in str(error.value)


@pytest.mark.parametrize("K", [1, 2, 30])
def test_automatic_sets_have_at_most_k_groups_and_all_classes(ilsvrc12, K):
    setting = concepts.resolve(ilsvrc12, ilsvrc12, {}, {"auto": K})
    mapping = concepts.group_classes(ilsvrc12, ilsvrc12, {}, setting)
    order = concepts.concept_order(setting)
    assert mapping == concepts.group_wnids(ilsvrc12, {"auto": K})
    assert list(mapping) == ilsvrc12
    assert set(mapping.values()) <= set(order)
    assert len(set(order)) == len(order) <= K


def test_an_automatic_set_is_more_balanced_than_table_1(ilsvrc12):
    """Each concept takes, of what is left, a number of classes that comes nearest to an equal share of it."""
    reader = wordnet.open_wordnet()
    rest = [reader.synset_from_pos_and_offset("n", int(wnid[1:])) for wnid in ilsvrc12]
    rest = [{synset, *synset.closure(lambda s: s.hypernyms() + s.instance_hypernyms())} for synset in rest]
    for i, concept in enumerate(concepts.resolve(ilsvrc12, ilsvrc12, {}, {"auto": 11})):
        counts = Counter(itertools.chain(*rest))
        off = {synset: abs(n - len(rest) / (11 - i)) for synset, n in counts.items() if n < len(rest)}
        chosen = reader.synset(concept["synset"])
        assert off[chosen] == min(off.values())
        rest = [above for above in rest if chosen not in above]
    sizes = Counter(concepts.group_wnids(ilsvrc12, {"auto": 11}).values()).values()
    assert len(sizes) == 11
    assert statistics.pstdev(sizes) < statistics.pstdev(concepts.TABLE1.values())
    assert max(sizes) / min(sizes) < 129 / 56


def test_an_automatic_set_of_few_classes():
    mapping = concepts.group_classes(list(SYNSETS), None, SYNSETS, {"auto": 3})
    assert {name for name in mapping if mapping[name] == "footwear"} == {"Sandal", "Sneaker", "Ankle boot"}
    assert len(set(mapping.values())) == 3
    assert len(set(concepts.group_classes(list(SYNSETS), None, SYNSETS, {"auto": 50}).values())) == 10
    bird, machine, entity = "n02012849", "n03126707", "n00001740"  # two cranes, and what is above all
    expected = {bird: "crane_n_05", machine: "crane_n_04", entity: "others"}
    assert concepts.group_wnids(expected, {"auto": 4}) == expected
    assert concepts.group_wnids([bird], {"auto": 3}) == {bird: "others"}


def test_target_distribution():
    images = ["dog"] * 6 + ["bird"] * 2 + ["boat"] * 3
    assert concepts.target_distribution(images, ["bird", "cat", "dog"]) == pytest.approx([3 / 11, 1 / 11, 7 / 11])
    shares = concepts.target_distribution(images, ["bird", "cat", "dog", "others"], smoothing=0.5)
    assert shares == pytest.approx([2.5 / 13, 0.5 / 13, 6.5 / 13, 3.5 / 13])
    assert concepts.target_distribution(["boat"], ["bird", "dog"]) == [0.5, 0.5]


def test_shares_of_a_target_count_what_is_known(tmp_path):
    names, synsets = ["Coat", "Bag", "7"], {"Coat": "coat.n.01", "Bag": "bag.n.04"}
    setting = [{"name": "garment", "synset": "clothing.n.01"}]
    shares = concepts.concept_shares(names, None, synsets, [0, 1, 1, 1, 2], setting)
    assert list(shares.items()) == [("others", 0.6), ("garment", 0.2), ("unknown", 0.2)]
    assert concepts.concept_shares(["7"], None, {}, [0, 0], setting) == {"unknown": 1.0}
    assert concepts.concept_shares(["cafe\u0301"], None, {"caf\u00e9": "coat.n.01"}, [0], setting) == {"garment": 1.0}
    (tmp_path / "mine.csv").write_text("class,concept\nCoat,warm\nHat,warm\n")
    shares = concepts.concept_shares(names, None, synsets, [0, 1], {"csv": tmp_path / "mine.csv"})
    assert shares == {"warm": 0.5, "unknown": 0.5}


def test_members_are_in_words_with_the_shortest_way_by_the_concept_to_the_first():
    groups = {"vehicle": ["n03770679", "n02012849"], "others": ["n03930630", "n03126707"]}
    wnids = {wnid: wnid for own in groups.values() for wnid in own}
    vehicle, others = concepts.members(groups, wnids, {}, [{"name": "vehicle", "synset": "vehicle.n.01"}])
    assert (vehicle["example"], vehicle["classes"]) == ("minivan", "minivan; crane (n02012849)")
    assert (others["example"], others["classes"]) == ("pickup", "pickup; crane (n03126707)")
    above = "entity.n.01 > physical_entity.n.01 > object.n.01 > whole.n.02 > artifact.n.01 > instrumentality.n.03"
    below = "wheeled_vehicle.n.01 > self-propelled_vehicle.n.01 > motor_vehicle.n.01"
    assert vehicle["way"] == f"{above} > conveyance.n.03 > vehicle.n.01 > {below} > car.n.01 > minivan.n.01"
    assert others["way"] == f"{above} > container.n.01 > {below} > truck.n.01 > pickup.n.01"
    [dog] = concepts.members({"dog": ["n02084071"]}, {"n02084071": "n02084071"}, {}, "table1")
    assert dog["way"].endswith(" > animal.n.01 > domestic_animal.n.01 > dog.n.01")  # not by way of the carnivores


def test_command_line_shows_table_1(capsys):
    concepts_table.main([])
    table = capsys.readouterr().out
    rows = [line.split() for line in table.splitlines() if not line.startswith(" ")]
    assert rows[1:] == [[name, str(n), str(n)] for name, n in concepts.TABLE1.items()]
    assert "tench, goldfish" in table


def test_command_line_shows_why_a_class_is_where_it_is(capsys):
    concepts_table.main(["--tree", "minivan"])
    tree = capsys.readouterr().out
    assert "vehicle.n.01    <- vehicle" in tree
    assert "container.n.01    <- container" in tree
    assert "most specific concepts: vehicle, container" in tree
    concepts_table.main(["--tree", "crane"])
    assert capsys.readouterr().out.count("\nentity.n.01") == 2  # the bird and the machine
    with pytest.raises(UserError, match="--tree tabby ct: no such class; takes a class's name, a wnid"):
        concepts_table.main(["--tree", "tabby ct"])


def test_command_line_reads_the_benchmark_of_a_params_file(tmp_path, capsys, monkeypatch):
    labels = {"train": np.array([0, 1]), "test": np.array([0])}
    splits = {split: Rows(Paths(["a", "b"][: len(y)]), y, 0 * y - 1, 0 * y - 1) for split, y in labels.items()}
    monkeypatch.chdir(tmp_path)
    params = str(ROOT / "presets/smoke.yaml")
    with pytest.raises(UserError, match=r"data/benchmark: .* is not listed yet; run `dvc repro"):
        concepts_table.main([params])
    Manifest("fashion_mnist", ["Coat", "Bag"], None, splits).write("data/benchmark")
    concepts_table.main([params])
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == ["concept", "classes", "train", "images", "test", "images"]
    assert table[1].split() == ["garment", "1", "1", "1"]
    assert table[4].split() == ["container", "1", "1", "0"]


OPEN = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from hrrl.concepts import wordnet
wordnet.PROJECT, wordnet.DEBIAN = Path("nothing"), Path(sys.argv[2])
print(wordnet.open_wordnet().synset("dog.n.01").offset(), wordnet.open_wordnet())
"""


@pytest.fixture
def files():
    """A folder with WordNet's files, from wherever this machine has it."""
    root = wordnet.open_wordnet()._root
    if not isinstance(root, str):
        pytest.skip("this machine has WordNet as a zip only")
    return Path(root)


@pytest.fixture
def nowhere(monkeypatch):
    """WordNet is nowhere but where a test puts it."""
    for place in ("PROJECT", "DEBIAN"):
        monkeypatch.setattr(wordnet, place, Path("/nonexistent"))
    monkeypatch.setattr("nltk.data.path", [])
    return monkeypatch


def test_wordnet_without_lexnames_from_elsewhere_with_a_fresh_home(files, tmp_path):
    folder = shutil.copytree(files, tmp_path / "wordnet", ignore=shutil.ignore_patterns("lexnames"))
    (tmp_path / "elsewhere").mkdir()
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "NLTK_DATA": ""}
    command = [sys.executable, "-c", OPEN, ROOT, folder]
    done = subprocess.run(command, cwd=tmp_path / "elsewhere", env=environment, capture_output=True, text=True)
    assert done.stdout == f"2084071 <Reader in '{folder}'>\n", done.stderr
    assert wordnet.open_wordnet().synset("dog.n.01").lexname() == "noun.animal"


def test_wordnet_of_another_version_and_a_wrong_folder_are_refused(files, tmp_path, nowhere):
    folder = shutil.copytree(files, tmp_path / "wordnet")
    text = (folder / "data.noun").read_bytes()
    (folder / "data.noun").write_bytes(b"  1 a line more\n" + text)  # moves every offset, as another version does
    wrong = {folder: f"WORDNET={folder}: its noun offsets are not those of WordNet 3.0", tmp_path: "not there"}
    for place, message in wrong.items():
        nowhere.setenv("WORDNET", str(place))
        with pytest.raises(UserError, match=message):
            wordnet.open_wordnet.__wrapped__()


def test_wordnet_from_nltks_zip(files, tmp_path, nowhere):
    (tmp_path / "corpora").mkdir()
    archive = zip_of(files, tmp_path / "corpora/wordnet.zip", what="*", inside="wordnet")
    nowhere.setattr("nltk.data.path", [str(tmp_path)])
    found = wordnet.open_wordnet.__wrapped__()
    assert found.synset("dog.n.01").offset() == 2084071
    assert str(archive) in str(found)


def test_install_unpacks_whole_files_that_only_the_owner_can_write(files, tmp_path, monkeypatch):
    monkeypatch.setattr(wordnet, "PROJECT", tmp_path / "data" / "wordnet")
    archive = zip_of(files, tmp_path / "wordnet.zip", what="*.noun", inside="wordnet")
    wordnet.PROJECT.parent.mkdir()
    umask = os.umask(0o002)
    try:
        assert wordnet.install(archive) == wordnet.install(archive) == str(wordnet.PROJECT)
    finally:
        os.umask(umask)
    assert (wordnet.PROJECT / "data.noun").read_bytes() == (files / "data.noun").read_bytes()
    assert (wordnet.PROJECT / "data.noun").stat().st_mode & 0o777 == 0o644
    assert list(wordnet.PROJECT.parent.iterdir()) == [wordnet.PROJECT]


def shares(name):
    """Of a dataset that has one image of each class."""
    return concepts.concept_shares(list(SHIPPED[name]), None, SHIPPED[name], range(len(SHIPPED[name])), "table1")


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_synsets_are_wordnets_and_give_every_class_a_concept(name):
    assert concepts.UNKNOWN not in shares(name)
    assert sum(shares(name).values()) == pytest.approx(1)


def test_shipped_synsets_say_what_the_papers_targets_are():
    assert shares("cifar10") == {"vehicle": 0.4, "mammal": 0.3, "bird": 0.1, "dog": 0.1, "animal": 0.1}
    assert set(shares("sop")) <= {"instrumentality", "artifact", "device", "container", "vehicle"}
    assert set(shares("grocery")) == {"others"}  # food
    clothes = concepts.group_classes(SYNSETS, None, SYNSETS, FASHION)
    assert Counter(clothes.values()) == {"garment": 6, "footwear": 3, "container": 1}


def test_a_kinds_classes_have_the_shipped_synsets_and_a_params_file_may_change_them():
    assert Dataset(kind="cifar10").synsets == SHIPPED["cifar10"]
    assert Dataset(kind="torchvision/CIFAR10").synsets == SHIPPED["cifar10"]
    assert Dataset(kind="torchvision/FashionMNIST").synsets == SYNSETS
    assert Dataset(kind="imagefolder", synsets="sop").synsets == SHIPPED["sop"]
    assert Dataset(kind="imagefolder").synsets == Dataset(kind="digits").synsets == {}
    bags = Dataset(kind="fashion_mnist", classes=["Bag", "Coat"], synsets={"Bag": "backpack.n.01"})
    assert bags.synsets == {"Bag": "backpack.n.01", "Coat": "coat.n.01"}
    with pytest.raises(ValueError, match="one of cifar10, sop, fashion_mnist, grocery; got 'imagenet'"):
        Dataset(kind="imagefolder", synsets="imagenet")
