"""The images that a host had before its upgrade: the registry of the previous release, compiled
from the real module that registry_before/ locks, and the token server of this checkout.

    PYTHONPATH=.:tests/library .venv/bin/python -m load.images_before FOLDER
"""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

from images import build, bundle, toolbox
from images.registry import recipe as registry

# go.mod and go.sum of the previous release.
MODULES = Path(__file__).parent / "registry_before"
# Its name in the cache of images.
KIND = "registry_before"


def version() -> str:
    """The version of distribution in the registry of the previous release."""
    return registry.version(MODULES)


def write(folder: Path) -> Path:
    """Writes a bundle (images_source: archive) into the folder. Builds the images that are not in
    the cache of images yet."""
    architecture = toolbox.native_architecture()
    build.RECIPES[KIND] = replace(
        build.RECIPES["registry"],
        version=version,
        sources=partial(registry.sources, MODULES),
        layers=partial(registry.build, modules=MODULES),
    )
    built = build.build_all([KIND, "token_server"], architecture, build.default_cache())
    output = folder / "images-before.tar"
    images = {"registry": built[KIND], "token_server": built["token_server"]}
    bundle.write(images, architecture, output)
    return output


if __name__ == "__main__":
    print(write(Path(sys.argv[1])))
