"""Writes into params.yaml the SHA-256 of the weights to start from: ``python -m scripts.weights [params.yaml]``.

Weights that are a name are downloaded first. Where a hash stands already, it is compared.
"""

import sys
from pathlib import Path

from ruamel.yaml import YAML

from hrrl.common.files import replacing
from hrrl.settings.schema import load
from hrrl.train.weights import Init, find, open_weights
from scripts import run


def main(path: str = "params.yaml") -> None:
    params, yaml = load(path), YAML()
    yaml.width = 4096
    content = yaml.load(Path(path).read_text(encoding="utf-8"))
    for start in {start["key"]: start for start in params.starts().values()}.values():
        init, key, section = Init(**start["init"]), start["key"], content
        net = params.pretrain.backbone, params.pretrain.backbone_args
        weights = (open_weights if init.sha256 else find)(init, *net, key)
        if init.sha256:
            continue
        for part in key.split("."):
            section = section[part]
        section["sha256"] = weights.sha256
        print(f"{path}: {key}.sha256: {weights.sha256}, of {weights.path}")
    with replacing(Path(path)) as new:
        yaml.dump(content, new)


if __name__ == "__main__":
    run(main, *sys.argv[1:])
