"""Datasets: a manifest (path, label, split) over files that stay where they are.

``prepare(definition, name)`` finds a dataset, checks it and lists it; ``Manifest.write`` and ``read_manifest`` keep the
list in a folder; ``relisted`` tells what changed since. The kinds are in hrrl/datasets/kinds/.
"""
