"""The WordNet 3.0 synsets of classes that have no wnid, of datasets in common use.

Digits (of SVHN and the like) have none: WordNet's numbers are abstract, and no concept of photographs holds them.
"""

from collections.abc import Mapping, Sequence

SHIPPED: dict[str, dict[str, str]] = {
    "cifar10": {
        "airplane": "airplane.n.01",
        "automobile": "car.n.01",
        "bird": "bird.n.01",
        "cat": "cat.n.01",
        "deer": "deer.n.01",
        "dog": "dog.n.01",
        "frog": "frog.n.01",
        "horse": "horse.n.01",
        "ship": "ship.n.01",
        "truck": "truck.n.01",
    },
    "sop": {  # Stanford Online Products' twelve super classes
        "bicycle": "bicycle.n.01",
        "cabinet": "cabinet.n.01",
        "chair": "chair.n.01",
        "coffee_maker": "coffee_maker.n.01",
        "fan": "fan.n.01",
        "kettle": "kettle.n.01",
        "lamp": "lamp.n.02",  # the piece of furniture, as they are sold
        "mug": "mug.n.04",
        "sofa": "sofa.n.01",
        "stapler": "stapler.n.01",
        "table": "table.n.02",
        "toaster": "toaster.n.02",
    },
    "fashion_mnist": {
        "T-shirt/top": "jersey.n.03",
        "Trouser": "trouser.n.01",
        "Pullover": "pullover.n.01",
        "Dress": "dress.n.01",
        "Coat": "coat.n.01",
        "Shirt": "shirt.n.01",
        "Sandal": "sandal.n.01",
        "Sneaker": "gym_shoe.n.01",
        "Ankle boot": "boot.n.01",
        "Bag": "bag.n.04",
    },
    "grocery": {  # the Grocery Store Dataset's coarse classes: what is eaten or drunk, as ImageNet's classes of food
        "Apple": "apple.n.01",
        "Asparagus": "asparagus.n.02",
        "Aubergine": "eggplant.n.01",
        "Avocado": "avocado.n.01",
        "Banana": "banana.n.02",
        "Cabbage": "cabbage.n.01",
        "Carrots": "carrot.n.03",
        "Cucumber": "cucumber.n.02",
        "Garlic": "garlic.n.02",
        "Ginger": "ginger.n.03",
        "Juice": "fruit_juice.n.01",
        "Kiwi": "kiwi.n.03",
        "Leek": "leek.n.02",
        "Lemon": "lemon.n.01",
        "Lime": "lime.n.06",
        "Mango": "mango.n.02",
        "Melon": "melon.n.01",
        "Milk": "milk.n.01",
        "Mushroom": "mushroom.n.05",
        "Nectarine": "nectarine.n.02",
        "Oat-Milk": "milk.n.04",
        "Oatghurt": "yogurt.n.01",
        "Onion": "onion.n.03",
        "Orange": "orange.n.01",
        "Papaya": "papaya.n.02",
        "Passion-Fruit": "passion_fruit.n.01",
        "Peach": "peach.n.03",
        "Pear": "pear.n.01",
        "Pepper": "sweet_pepper.n.02",
        "Pineapple": "pineapple.n.02",
        "Plum": "plum.n.02",
        "Pomegranate": "pomegranate.n.02",
        "Potato": "potato.n.01",
        "Red-Beet": "beet.n.02",
        "Red-Grapefruit": "grapefruit.n.02",
        "Satsumas": "satsuma.n.02",
        "Sour-Cream": "sour_cream.n.01",
        "Sour-Milk": "sour_milk.n.01",
        "Soy-Milk": "soya_milk.n.01",
        "Soyghurt": "yogurt.n.01",
        "Tomato": "tomato.n.01",
        "Yoghurt": "yogurt.n.01",
        "Zucchini": "zucchini.n.02",
    },
}
OF_KINDS = {
    **{kind: kind for kind in ("cifar10", "sop", "fashion_mnist")},
    **{"torchvision/CIFAR10": "cifar10", "torchvision/FashionMNIST": "fashion_mnist"},
}


def of_classes(kind: str, given: str | Mapping[str, str], classes: Sequence[str] | None) -> dict[str, str]:
    """{class: synset} of a dataset: the shipped ones that ``given`` names, or ``given`` over those of its kind.

    Args:
        given: {class: synset}, or a key of ``SHIPPED``.
        classes: those in use; None for all.
    """
    of_kind = SHIPPED.get(OF_KINDS.get(kind, ""), {})
    synsets = SHIPPED[given] if isinstance(given, str) else of_kind | dict(given)
    return {name: synset for name, synset in synsets.items() if classes is None or name in classes}
