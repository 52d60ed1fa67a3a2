"""What a public repository shows of a release: one version everywhere, and the same checks in both CI files."""

import re
from pathlib import Path

from ruamel.yaml import YAML

import hrrl

ROOT = Path(__file__).parent.parent


def test_the_citation_and_the_changelog_know_the_version():
    citation = YAML(typ="safe").load((ROOT / "CITATION.cff").read_text())
    version, date = re.search(r"^## \[(\d\S*)\] - (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE).groups()
    assert (citation["version"], str(citation["date-released"])) == (version, date)
    assert version == hrrl.__version__
    assert citation["license"] == (ROOT / "LICENSE").read_text().split()[0]


def test_the_hosted_workflow_calls_what_the_local_one_calls():
    local = re.findall(r"^make \S+$", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    workflow = YAML(typ="safe").load((ROOT / ".github/workflows/ci.yaml").read_text())
    hosted = [step["run"] for step in workflow["jobs"]["check"]["steps"] if "run" in step]
    assert hosted[: len(local)] == local
    assert local
