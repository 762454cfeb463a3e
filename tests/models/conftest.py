"""The tiny embedding models that several modules load."""

from __future__ import annotations

import pytest

from tests.support.tiny_embedders import BUILDERS


@pytest.fixture(scope="package")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A folder of each kind of model."""
    root = tmp_path_factory.mktemp("models")
    return {name: str(build(root / name)) for name, build in BUILDERS.items()}
