"""Writes into params.yaml the SHA-256 of the weights to start from: ``python -m scripts.weights [params.yaml]``.

Weights that are a name are downloaded first. Where a hash stands already, it is compared.
"""

import sys
from pathlib import Path

from ruamel.yaml import YAML

from hrrl.common.files import replacing
from hrrl.errors import UserError
from hrrl.settings.schema import load
from hrrl.train.weights import digest, find, open_weights


def main(path: str = "params.yaml") -> None:
    params, yaml = load(path), YAML()
    yaml.width = 4096
    content = yaml.load(Path(path).read_text(encoding="utf-8"))
    for start in {start["key"]: start for start in params.starts().values()}.values():
        init, key, backbone = start["init"], start["key"], params.pretrain.backbone
        if init["sha256"]:
            open_weights(init, backbone, params.pretrain.backbone_args, key)
            continue
        file, _ = find(init, backbone, key)
        section = content
        for part in key.split("."):
            section = section[part]
        section["sha256"] = digest(file)
        print(f"{path}: {key}.sha256: {section['sha256']}, of {file}")
    with replacing(Path(path)) as new:
        yaml.dump(content, new)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except UserError as error:
        sys.exit(str(error))
