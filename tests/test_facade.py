"""The lazy facade and its stub name the same things, and all of them exist."""

import ast
import importlib
from pathlib import Path

import pytest


@pytest.mark.parametrize("package", ["flowcore", "flowcore.testing"])
def test_the_stub_names_what_the_package_resolves(package):
    module = importlib.import_module(package)
    stub = ast.parse(Path(module.__file__).with_suffix(".pyi").read_text())
    imported = {
        alias.asname: node.module for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert imported == module._HOME_OF
    assert list(module.__all__) == sorted(module.__all__)
    for name in module.__all__:
        assert getattr(module, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    import flowcore

    with pytest.raises(AttributeError, match="no attribute 'Nope'"):
        _ = flowcore.Nope
