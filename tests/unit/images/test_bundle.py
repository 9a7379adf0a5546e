"""Bundles: complete or refused, with one sentence that says what to do."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from images import build

from .conftest import Kitchen

Members = dict[str, bytes]


@pytest.fixture
def bundle(kitchen: Kitchen, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A bundle of the two small images, made by the command."""
    output = tmp_path / "images.tar"
    arguments = ["--architecture", "amd64", "--cache", str(tmp_path / "cache")]
    assert build.main(["bundle", *arguments, "--output", str(output)]) == 0
    capsys.readouterr()
    return output


def rewrite(path: Path, change: Callable[[Members], None]) -> None:
    """Changes a bundle's members; all others stay as they were."""
    with tarfile.open(path) as archive:
        members = {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]
    change(members)
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))


def change_index(change: Callable[[Any], None]) -> Callable[[Members], None]:
    def apply(members: Members) -> None:
        index = json.loads(members["bundle.json"])
        change(index)
        members["bundle.json"] = json.dumps(index).encode()

    return apply


def refusal(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    """The message of `open`, which must fail and leave nothing in the cache."""
    cache = tmp_path / "opened"
    assert build.main(["open", str(path), "--cache", str(cache), *more]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    names = [path.name for path in cache.rglob("*") if path.is_file()]
    assert "registry.tar" not in " ".join(names)
    return captured.err.rstrip("\n")


def test_open_prints_the_images_that_were_built(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    built = build.build_all(build.KINDS, "amd64", tmp_path / "cache")
    assert build.main(["open", str(bundle), "--cache", str(tmp_path / "opened")]) == 0
    answer = json.loads(capsys.readouterr().out)
    for kind, image in built.items():
        opened = answer[kind]
        assert Path(opened["path"]).read_bytes() == Path(image.path).read_bytes()
        assert Path(opened["path"]).is_relative_to(tmp_path / "opened")
        assert opened["ids"] == image.ids
        assert (opened["inputs"], opened["reference"]) == (image.inputs, image.reference)
        assert opened["size"] == image.size


def test_opening_again_replaces_a_damaged_file_in_the_cache(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["open", str(bundle), "--cache", str(tmp_path / "opened")]
    assert build.main(arguments) == 0
    path = Path(json.loads(capsys.readouterr().out)["registry"]["path"])
    content = path.read_bytes()
    path.write_bytes(b"damaged")
    assert build.main(arguments) == 0
    assert path.read_bytes() == content


def test_the_same_images_give_the_same_bundle(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = tmp_path / "again.tar"
    arguments = ["--architecture", "amd64", "--cache", str(tmp_path / "other")]
    assert build.main(["bundle", *arguments, "--output", str(again)]) == 0
    assert again.read_bytes() == bundle.read_bytes()


def test_a_flipped_bit_in_an_image_is_refused_with_both_digests(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with tarfile.open(bundle) as archive:
        member = archive.getmember("registry.tar")
        image = archive.extractfile(member)
        assert image is not None
        whole = image.read()
    content = bytearray(bundle.read_bytes())
    content[member.offset_data + 3000] ^= 1
    bundle.write_bytes(content)
    damaged = content[member.offset_data : member.offset_data + member.size]
    assert refusal(bundle, tmp_path, capsys) == (
        f"images_archive: {bundle}: registry.tar: its SHA-256 is "
        f"{hashlib.sha256(damaged).hexdigest()}, but bundle.json says "
        f"{hashlib.sha256(whole).hexdigest()}: copy the bundle again"
    )


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_bundle_that_was_cut_off_is_refused(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], share: float
) -> None:
    content = bundle.read_bytes()
    # The end is padded up to 10240 bytes, so the test must cut off more than padding.
    with tarfile.open(bundle) as archive:
        last = archive.getmembers()[-1]
    bundle.write_bytes(content[: int((last.offset_data + last.size) * share)])
    said = refusal(bundle, tmp_path, capsys)
    assert said.startswith(f"images_archive: {bundle}: ")
    assert "copy the bundle again" in said


def test_an_image_other_than_the_index_says_is_refused(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    real = build.build("registry", "amd64", tmp_path / "cache").ids
    claimed = ["sha256:" + "0" * 64, "sha256:" + "1" * 64]

    def swap(index: Any) -> None:
        index["images"]["registry"]["ids"] = claimed

    rewrite(bundle, change_index(swap))
    assert refusal(bundle, tmp_path, capsys) == (
        f"images_archive: {bundle}: registry.tar: the image in it is {' and '.join(real)}, "
        f"but bundle.json says {' and '.join(claimed)}: make the bundle again"
    )


def test_a_member_that_is_not_an_image_is_refused(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def swap(members: Members) -> None:
        members["registry.tar"] = b"no tar"

        def name_it(index: Any) -> None:
            index["images"]["registry"]["sha256"] = hashlib.sha256(b"no tar").hexdigest()

        change_index(name_it)(members)

    rewrite(bundle, swap)
    said = refusal(bundle, tmp_path, capsys)
    assert f"images_archive: {bundle}: registry.tar: the image in it is none, " in said


def test_an_image_that_is_missing_is_named(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rewrite(bundle, lambda members: members.__delitem__("registry.tar"))
    assert refusal(bundle, tmp_path, capsys) == (
        f"images_archive: {bundle}: registry.tar is missing: copy the bundle again"
    )


def test_images_for_another_architecture_are_refused(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusal(bundle, tmp_path, capsys, "--architecture", "arm64") == (
        f"images_archive: {bundle}: its images are for amd64, but the host is arm64: make a bundle "
        "with --architecture arm64"
    )


def test_a_file_that_does_not_exist_is_answered_with_what_to_write(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "nothing.tar"
    assert refusal(path, tmp_path, capsys) == (
        f"images_archive: {path}: there is no such file: write the path of a file on the "
        "controller that `images/build.py bundle` has written"
    )


def test_a_file_that_is_not_a_tar_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "text.tar"
    path.write_text("not a tar at all\n" * 100)
    assert refusal(path, tmp_path, capsys) == (
        f"images_archive: {path}: it is damaged or not a bundle: copy the bundle again, or make "
        "one with `images/build.py bundle`"
    )


def test_a_single_image_is_not_a_bundle(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(build.build("registry", "amd64", tmp_path / "cache").path)
    assert refusal(path, tmp_path, capsys) == (
        f"images_archive: {path}: it does not begin with bundle.json, so it is not a bundle: write "
        "the path of a file that `images/build.py bundle` has written"
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda index: index.update(format=2),
        lambda index: index["images"].update(other=index["images"]["registry"]),
        lambda index: index["images"]["registry"].pop("inputs"),
        lambda index: index.pop("architecture"),
    ],
)
def test_a_bundle_of_another_version_is_refused(
    bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[Any], None],
) -> None:
    rewrite(bundle, change_index(change))
    assert refusal(bundle, tmp_path, capsys) == (
        f"images_archive: {bundle}: its bundle.json was written by another version of the "
        "toolkit: make the bundle with this version"
    )


def test_an_image_cannot_be_placed_outside_the_cache(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def redirect(index: Any) -> None:
        index["images"]["registry"]["sha256"] = "../../outside"

    rewrite(bundle, change_index(redirect))
    assert "bundle.json says ../../outside: copy the bundle again" in refusal(
        bundle, tmp_path, capsys
    )
    assert not (tmp_path / "outside.tar").exists()


def test_an_output_that_cannot_be_written_is_one_sentence(
    kitchen: Kitchen, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "missing" / "images.tar"
    arguments = ["--architecture", "amd64", "--cache", str(tmp_path / "cache")]
    assert build.main(["bundle", *arguments, "--output", str(output)]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"--output: {output} cannot be written (No such file or directory): name a file in a "
        "folder that exists and has room"
    )
