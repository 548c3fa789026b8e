# SPDX-License-Identifier: Apache-2.0
"""Packages: round trips, damage, interrupted writes, built overlays."""

import json
from pathlib import Path

import pytest
from overlay_designs import BOARDS, make, sha256

from hls4attn.models.errors import DeviceError, ModelFileError
from hls4attn.overlays import bitfile, hwh
from hls4attn.overlays.design import OverlayDesign
from hls4attn.overlays.package import read_package, write_package

# --- packages ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BOARDS)
def test_package_round_trip(tmp_path: Path, name: str) -> None:
    written = write_package(make(on=name), tmp_path / "new" / "folder")
    assert written.emulation
    assert sorted(p.name for p in written.bit.parent.iterdir()) == ["nn.bit", "nn.hwh", "nn.json"]
    for path in (written.bit.parent, written.bit, written.hwh, str(written.manifest)):
        assert read_package(path) == written


def test_two_designs_never_share_a_bit(tmp_path: Path) -> None:
    a = write_package(make(), tmp_path / "a")
    b = write_package(make(clock_mhz=50.0), tmp_path / "b")
    assert a.bit.read_bytes() != b.bit.read_bytes()


@pytest.mark.parametrize("suffix", ["bit", "hwh", "json"])
@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "of another overlay"])
def test_damaged_packages_are_refused(tmp_path: Path, suffix: str, damage: str) -> None:
    write_package(make(), tmp_path)
    path = tmp_path / f"nn.{suffix}"
    other = write_package(make(model_id=sha256(b"other"), clock_mhz=50.0), tmp_path / "other")
    if damage == "missing":
        path.unlink()
    elif damage == "of another overlay":
        path.write_bytes(other.bit.with_suffix(f".{suffix}").read_bytes())
    else:
        path.write_bytes(path.read_bytes()[: 0 if damage == "empty" else -17])
    with pytest.raises(ModelFileError, match=r"nn\."):
        read_package(tmp_path / "nn.bit")


def test_a_consistent_manifest_around_foreign_files_is_refused(tmp_path: Path) -> None:
    """Digests recomputed by somebody who swapped the files: the identity inside the .bit remains."""
    design, other = make(), make(model_id=sha256(b"other"))
    paths = write_package(design, tmp_path)
    handoff = paths.hwh.read_bytes()

    def rewrite(bit: bytes) -> None:
        paths.bit.write_bytes(bit)
        manifest = json.loads(paths.manifest.read_text())
        manifest["sha256"]["bit"] = sha256(bit)
        paths.manifest.write_text(json.dumps(manifest))

    rewrite(bitfile.build_bit(other, sha256(handoff)))
    with pytest.raises(ModelFileError, match=f"holds model {sha256(b'other')[:16]}"):
        read_package(tmp_path)
    rewrite(bitfile.build_bit(design, sha256(b"other handoff")))
    with pytest.raises(ModelFileError, match=r"made with another nn\.hwh"):
        read_package(tmp_path)
    rewrite(bitfile.build_bit(make(on="zcu104"), sha256(handoff)))
    with pytest.raises(ModelFileError, match="made for xczu7ev-ffvc1156-2-e, the design for xc7z020clg400-1"):
        read_package(tmp_path)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"kind": "x"}, "not the manifest"),
        ({"version": 9}, "version=9"),
        ({"surprise": 1}, "unknown: surprise"),
        ({"sha256": {"bit": "0"}}, "missing: hwh"),
        ({"design": {}}, "not an overlay design"),
    ],
)
def test_manifests_with_other_keys_are_refused(tmp_path: Path, change: dict, match: str) -> None:
    path = write_package(make(), tmp_path).manifest
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ModelFileError, match=match):
        read_package(tmp_path)


def test_renamed_files_are_refused(tmp_path: Path) -> None:
    write_package(make(), tmp_path)
    for suffix in ("bit", "hwh", "json"):
        (tmp_path / f"nn.{suffix}").rename(tmp_path / f"mm.{suffix}")
    with pytest.raises(ModelFileError, match="describes 'nn'"):
        read_package(tmp_path / "mm.bit")


def test_a_folder_must_hold_one_overlay(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="found: none"):
        read_package(tmp_path)
    write_package(make("a"), tmp_path)
    write_package(make("b"), tmp_path)
    with pytest.raises(ModelFileError, match=r"found: a\.bit, b\.bit"):
        read_package(tmp_path)
    assert read_package(tmp_path / "b.bit").design.name == "b"
    with pytest.raises(ModelFileError, match=r"not a \.bit"):
        read_package(tmp_path / "nothing.txt")


@pytest.mark.parametrize("failing", [0, 1, 2])
@pytest.mark.parametrize("existing", [True, False])
def test_a_failing_write_leaves_everything_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int, existing: bool
) -> None:
    folder = tmp_path / "out"
    if existing:
        write_package(make(), folder)
    before = {p.name: p.read_bytes() for p in folder.glob("*")}
    replace, calls = Path.replace, []

    def fail(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == failing + 1:
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(DeviceError, match="No space left"):
        write_package(make(clock_mhz=50.0), folder)
    monkeypatch.undo()
    assert len(calls) > failing
    assert {p.name: p.read_bytes() for p in folder.glob("*")} == before


def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DeviceError, match="file: overlay 'nn' not written"):
        write_package(make(), tmp_path / "file")


def vivado_bit(design: OverlayDesign) -> bytes:
    """A `.bit` as a tool writes it: no mark, configuration data with a synchronisation word."""
    data = bitfile.build_bit(design, sha256(b""))
    data = data.replace(f";{bitfile.MARK}".encode(), b"" * len(bitfile.MARK))
    start = data.index(b"a") + 1  # the length of field a shrank with its text
    length = len(data[start + 2 : data.index(b"\0b", start) + 1])
    data = data[:start] + length.to_bytes(2, "big") + data[start + 2 :]
    return data.replace(b"\xff" * 4, bitfile.SYNC_WORD, 1)


def test_a_built_overlay_is_packaged_as_one_for_hardware(tmp_path: Path) -> None:
    design = make()
    written = write_package(design, tmp_path, bit=vivado_bit(design), handoff=hwh.build_hwh(design))
    assert not written.emulation
    assert read_package(tmp_path) == written
    with pytest.raises(ModelFileError, match="only one was given"):
        write_package(design, tmp_path, bit=vivado_bit(design))
    with pytest.raises(ModelFileError, match="made for xczu3eg"):
        write_package(design, tmp_path, bit=vivado_bit(make(on="aup-zu3")), handoff=hwh.build_hwh(design))
    with pytest.raises(ModelFileError, match="DEVICE is 'xczu7ev', pynq-z2"):
        write_package(design, tmp_path, bit=vivado_bit(design), handoff=hwh.build_hwh(make(on="zcu104")))
    assert read_package(tmp_path) == written  # the refusals wrote nothing


def test_oversized_files_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_package(make(), tmp_path)
    monkeypatch.setattr(bitfile, "MAX_BYTES", 10)
    with pytest.raises(ModelFileError, match="at most 10 are accepted"):
        read_package(tmp_path)


def test_an_unreadable_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_package(make(), tmp_path)

    def denied(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", denied)
    with pytest.raises(ModelFileError, match=r"nn\.json: cannot be read: Permission denied"):
        read_package(tmp_path)
