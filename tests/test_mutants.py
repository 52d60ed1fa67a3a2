"""The mutants of `make mutants`: what it lists is there, and its mistakes are what they say."""

import ast
import tomllib

import pytest
from conftest import ROOT

from benchmarks import mutants


def test_modules_tests_and_equivalent_mutants_are_there():
    for module, tests in mutants.TESTS.items():
        assert (ROOT / module).is_file()
        assert all((ROOT / f"tests/{name.partition('::')[0]}.py").is_file() for name in tests.split())
    for module, entries in tomllib.loads(mutants.EQUIVALENT.read_text(encoding="utf-8")).items():
        made = [mutant.name for mutant in mutants.mutants(module)]
        for entry in entries:
            name = module, *(entry[key] for key in ("function", "before", "after")), entry.get("which", 1)
            assert name in made, name
            assert "which" in entry or (*name[:-1], 2) not in made, name
            assert entry["why"]


MISTAKES = {"a < b": ["a <= b"], "f(x, k=1)": ["f(x)", "f(x, k=2)", "x"], "g(x, y)": ["g(x)"], "x.detach()": ["x"]}
MISTAKES |= {"y = open_split('train')": ["y = 'train'", "y = open_split('test')"], "a if b else c": ["a", "c"]}
MISTAKES |= {"-x[:2]": ["x[:2]", "-x[:]", "-x[:3]"], "raise UserError(f'{1 + 1}')": []}


@pytest.mark.parametrize(("code", "expected"), MISTAKES.items())
def test_mistakes(code, expected):
    tree = ast.parse(code)
    found = []
    for path, node, _ in mutants.places(tree, (), ""):
        for i, _ in enumerate(mutants.changes(node)):
            whole = ast.parse(code)
            mutants.put(whole, path, list(mutants.changes(mutants.at(whole, path)))[i])
            found.append(ast.unparse(whole))
    assert sorted(text for text in found if text != "pass") == sorted(expected)
