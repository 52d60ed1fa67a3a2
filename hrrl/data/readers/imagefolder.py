"""Any tree of class folders: one's own images."""

from hrrl.data.image_folder import Tree


class ImageFolder(Tree):
    """``train/<class>/*`` and ``val|test/<class>/*``, also one folder deeper, in a folder or a zip."""

    source = "a folder of images of one's own"
    needs = f"{Tree.needs}; class folders without a split are kind: torchvision/ImageFolder"
