"""Another build of the registry's image, as an upgrade brings one: the same program, another id."""

from __future__ import annotations

import hashlib
import json
import tarfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from images import build, bundle, image_tar, toolbox


def write(folder: Path) -> Path:
    """A bundle (images_source: archive) with the token server's image of this checkout and another
    build of the registry's. Both images of this checkout must be in the cache."""
    architecture = toolbox.native_architecture()
    built = build.build_all(bundle.KINDS, architecture, build.default_cache())
    built["registry"] = another(built["registry"], architecture, folder / "registry.tar")
    output = folder / "other-images.tar"
    bundle.write(built, architecture, output)
    return output


def another(built: bundle.Built, architecture: str, output: Path) -> bundle.Built:
    """The image with one more label, and what it is made from named accordingly."""
    with tarfile.open(built.path) as archive:

        def read(name: str) -> bytes:
            member = archive.extractfile(name)
            assert member is not None
            return member.read()

        (classic,) = json.loads(read("manifest.json"))
        config: dict[str, Any] = json.loads(read(classic["Config"]))["config"]
        layers = [read(name) for name in classic["Layers"]]
    labels = config.pop("Labels") | {"test.wharfinger.build": "another"}
    inputs = hashlib.sha256(built.inputs.encode()).hexdigest()
    reference = f"{built.reference.rsplit('-', 1)[0]}-{inputs[:12]}"
    ids = image_tar.write(
        output,
        reference=reference,
        architecture=architecture,
        layers=layers,
        settings=config,
        labels=labels,
    )
    changed = {
        "inputs": inputs,
        "reference": reference,
        "path": str(output),
        "sha256": toolbox.file_sha256(output),
        "ids": [ids.configuration, ids.manifest],
        "size": output.stat().st_size,
    }
    return bundle.Built(**{**asdict(built), **changed})
