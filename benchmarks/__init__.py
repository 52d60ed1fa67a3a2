"""Measurements of the project beside plain references, run from its root: python -m benchmarks.run"""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
