# SPDX-License-Identifier: Apache-2.0
"""Boards, designs, handoffs, bit files and packages: round trips and every refusal."""

import hashlib
import json
import warnings
from pathlib import Path

import pytest

from hls4attn.models.errors import DeviceError, ModelFileError, SpecError, UnsupportedError
from hls4attn.models.formats import Fixed
from hls4attn.overlays import bitfile, hwh
from hls4attn.overlays.boards import Board, board, load_boards
from hls4attn.overlays.clocks import io_pll_mhz, pl_clock
from hls4attn.overlays.design import DmaSpec, OverlayDesign
from hls4attn.overlays.package import read_package, write_package
from hls4attn.overlays.ports import StreamPort

BOARDS = ("pynq-z1", "pynq-z2", "aup-zu3", "kv260", "zcu104")
MODEL_ID = hashlib.sha256(b"model").hexdigest()


def make(name: str = "nn", on: str = "pynq-z2", **changes: object) -> OverlayDesign:
    values: dict = {
        "name": name,
        "board": board(on),
        "clock_mhz": 100.0,
        "model_id": MODEL_ID,
        "input": StreamPort((3, 5), Fixed(6, 4)),
        "output": StreamPort((7,), Fixed(12, 4, signed=False)),
    }
    return OverlayDesign(**{**values, **changes})


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# --- boards and clocks -------------------------------------------------------------------------------------


def test_the_five_boards_are_there_with_parts_that_split() -> None:
    assert sorted(load_boards()) == sorted(BOARDS)
    z2, kv = board("Pynq-Z2"), board("KV260")
    assert (z2.device, z2.package, z2.speed) == ("xc7z020", "clg400", "-1")
    assert (kv.device, kv.package, kv.speed) == ("xck26", "sfvc784", "-2LV-c")
    for name in BOARDS:
        b = board(name)
        assert b.part.replace("-", "") == (b.device + b.package + b.speed).replace("-", "")
        assert Board.from_dict(b.to_dict(), "here") == b


def test_unknown_board_lists_the_known_ones() -> None:
    with pytest.raises(UnsupportedError, match=r"'zedboard'.*aup-zu3, kv260, pynq-z1, pynq-z2, zcu104"):
        board("zedboard")


def test_extra_boards_add_and_replace(tmp_path: Path) -> None:
    extra = tmp_path / "mine.toml"
    extra.write_text(
        '[zybo]\nfamily="zynq"\npart="xc7z020clg400-1"\nboard_part="digilentinc.com:zybo-z7-20:part0:1.0"\n'
        "hp_width=64\nps_clock_mhz=33.333\ncma_mb=64\n"
    )
    assert board("zybo", extra).cma_mb == 64
    assert board("zybo", extra).lut is None
    assert "zybo" not in load_boards()


@pytest.mark.parametrize(
    ("text", "error", "match"),
    [
        ("[x]\nfamily='zynq'", ModelFileError, r"\[x\]: wrong keys \(missing: board_part, cma_mb"),
        ("[x]\nfoo=1", ModelFileError, "unknown: foo"),
        ("x = 3", ModelFileError, "expected a table"),
        ("[x", ModelFileError, "not valid TOML"),
        ("[x]\nfamily='versal'", SpecError, "family must be one of"),
        ("[x]\npart='xc7z020'", SpecError, "is no zynq part"),
        ("[x]\nhp_width=48", SpecError, "hp_width"),
        ("[x]\nhp_width=true", ModelFileError, "hp_width must be int. Received: True"),
        ("[x]\ncma_mb=0", SpecError, "cma_mb"),
        ("[x]\nps_clock_mhz=1e9", SpecError, "ps_clock_mhz"),
        ("[x]\nlut=-1", SpecError, "lut must not be negative"),
        ("['X!']\nlut=1", SpecError, "board name"),
    ],
)
def test_malformed_board_files_are_refused(tmp_path: Path, text: str, error: type, match: str) -> None:
    good = {
        "family": "'zynq'",
        "part": "'xc7z020clg400-1'",
        "board_part": "'a:b:c:1.0'",
        "hp_width": "64",
        "ps_clock_mhz": "50.0",
        "cma_mb": "64",
    }
    _, _, line = text.partition("\n")
    if error is SpecError or "True" in match:  # complete the table, so that only the given line is wrong
        key = line.partition("=")[0]
        text += "".join(f"\n{k}={v}" for k, v in good.items() if k != key)
    path = tmp_path / "boards.toml"
    path.write_text(text)
    with pytest.raises(error, match=match):
        load_boards(path)


def test_missing_board_file() -> None:
    with pytest.raises(ModelFileError, match="no such file"):
        load_boards(Path("nowhere.toml"))


@pytest.mark.parametrize("name", BOARDS)
@pytest.mark.parametrize("mhz", [1.0, 33.0, 100.0, 123.4, 250.0])
def test_clock_is_the_fastest_not_above_the_request(name: str, mhz: float) -> None:
    clock = pl_clock(board(name), mhz)
    pll = io_pll_mhz(board(name))
    best = max(pll / n for n in {a * b for a in range(1, 64) for b in range(1, 64)} if pll / n <= mhz * (1 + 1e-6))
    assert clock.mhz == pytest.approx(best, abs=1e-6)
    assert clock.mhz == pytest.approx(pll / clock.div0 / clock.div1, abs=1e-6)


def test_well_known_clocks() -> None:
    assert pl_clock(board("pynq-z2"), 100).mhz == 100.0
    assert pl_clock(board("kv260"), 100).mhz == 99.999
    third = pl_clock(board("pynq-z2"), 33.333333)  # 1000/30, a little above the six digits of the request
    assert third.div0 * third.div1 == 30


@pytest.mark.parametrize("mhz", [0.01, 0, -5, 1e5, float("nan"), float("inf")])
def test_impossible_clocks_are_refused(mhz: float) -> None:
    with pytest.raises(SpecError, match="makes PL clocks of"):
        make(clock_mhz=mhz)


# --- design and JSON ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BOARDS)
def test_json_round_trip(name: str) -> None:
    design = make(on=name, dma=DmaSpec("dma", 20), ip="model")
    assert OverlayDesign.from_json(design.to_json()) == design
    assert OverlayDesign.from_json(design.to_json().encode()).to_json() == design.to_json()


def test_model_id_words_are_the_first_64_bits() -> None:
    low, high = make().model_id_words
    assert f"{high:08x}{low:08x}" == MODEL_ID[:16]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"name": "1nn"}, "Overlay name"),
        ({"name": "../nn"}, "Overlay name"),
        ({"ip": "a b"}, "IP instance"),
        ({"ip": "axi_dma_0"}, "different instance names"),
        ({"model_id": "abc"}, "SHA-256"),
        ({"model_id": MODEL_ID.upper()}, "SHA-256"),
        (
            {"dma": DmaSpec(length_width=8), "input": StreamPort((300,), Fixed(8, 0))},
            "limit of 255",
        ),
    ],
)
def test_impossible_designs_are_refused(changes: dict, match: str) -> None:
    with pytest.raises(SpecError, match=match):
        make(**changes)


@pytest.mark.parametrize("width", [7, 27])
def test_impossible_length_widths_are_refused(width: int) -> None:
    with pytest.raises(SpecError, match="c_sg_length_width"):
        DmaSpec(length_width=width)


def edited(**changes: object) -> str:
    data = make().to_dict()
    for path, value in changes.items():
        target = data
        *parents, last = path.split("__")
        for key in parents:
            target = target[key]
        if value is ...:
            del target[last]
        else:
            target[last] = value
    return json.dumps(data)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "not valid JSON"),
        (make().to_json()[:-40], "truncated"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "expected a table"),
        ("3" * 5000, "not valid JSON"),
        ('{"name": "a", "name": "b"}', "key given twice: name"),
        (b"\xff\xfe", "not valid JSON"),
        (" " * (1 << 20) + "{}", "at most 1048576"),
        (edited(clock_mhz=float("nan")), "NaN is not a number"),
        (edited(kind="other"), "not an overlay design.*kind='other'"),
        (edited(version=2), "version=2"),
        (edited(extra=1), "unknown: extra"),
        (edited(model_id=...), "missing: model_id"),
        (edited(model_id=5), "model_id must be str"),
        (edited(clock_mhz="100"), "clock_mhz must be int or float"),
        (edited(clock_mhz=10**400), "int too large"),
        (edited(board__part="xc9"), "is no zynq part"),
        (edited(board__colour="red"), "board: wrong keys.*unknown: colour"),
        (edited(dma__length_width=40), "c_sg_length_width"),
        (edited(dma__length_width=True), "length_width must be int"),
        (edited(input__format="float32"), "Expected a format"),
        (edited(input__format="fixed<40,0>"), "up to 32 bits"),
        (edited(input__shape=[]), "axes of positive length"),
        (edited(input__shape=[0]), "axes of positive length"),
        (edited(input__shape=[2.0]), "axes of positive length"),
        (edited(input__shape=[True]), "axes of positive length"),
        (edited(input__shape=[1 << 13, 1 << 13]), "at most"),
        (edited(output=...), "missing: output"),
        (edited(ip="x/y"), "IP instance"),
    ],
)
def test_every_other_json_is_refused(text: str | bytes, match: str) -> None:
    with pytest.raises(ModelFileError, match=match):
        OverlayDesign.from_json(text)


# --- handoff -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BOARDS)
def test_handoff_as_pynq_reads_it(tmp_path: Path, name: str) -> None:
    from pynqmetadata.frontends import Metadata

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pynq.metadata.runtime_metadata_parser import RuntimeMetadataParser

    design = make(on=name, ip="model", dma=DmaSpec("dma", 20))
    path = tmp_path / "nn.hwh"
    path.write_bytes(hwh.build_hwh(design))
    parser = RuntimeMetadataParser(Metadata(input=str(path)))
    ip, dma = parser.ip_dict["model"], parser.ip_dict["dma"]
    assert (ip["type"], ip["phys_addr"], ip["addr_range"]) == (
        "hls4attn:hls:stream_model:1.0",
        design.addresses.ip,
        0x10000,
    )
    assert (dma["type"], dma["phys_addr"]) == ("xilinx.com:ip:axi_dma:7.1", design.addresses.dma)
    assert dma["parameters"]["c_sg_length_width"] == "20"
    assert {k: v["address_offset"] for k, v in ip["registers"].items()} == {
        "CTRL": 0x00,
        "MODEL_ID_LO": 0x10,
        "MODEL_ID_HI": 0x18,
        "SAMPLES": 0x20,
    }
    assert ip["registers"]["CTRL"]["fields"]["AUTO_RESTART"]["bit_offset"] == 7
    assert dma["registers"]["S2MM_LENGTH"]["address_offset"] == 0x58
    clocks = parser.clock_dict
    assert (clocks[0]["divisor0"], clocks[0]["divisor1"]) == (design.clock.div0, design.clock.div1)
    assert [bool(clocks[i]["enable"]) for i in range(4)] == [True, False, False, False]


def test_handoff_is_deterministic() -> None:
    assert hwh.build_hwh(make()) == hwh.build_hwh(make())
    assert hwh.build_hwh(make()) != hwh.build_hwh(make(clock_mhz=50.0))


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        (b"hls4attn:hls:stream_model:1.0", b"acme:hls:other:1.0", "stream_model_0 is a 'acme:hls:other:1.0'"),
        (
            b'BASEVALUE="0x40400000"',
            b'BASEVALUE="0x40500000"',
            "axi_dma_0 is at 0x40500000, not",
        ),
        (b'BASEVALUE="0x40400000"', b'BASEVALUE="zero"', "not at 0x40400000"),
        (b'INSTANCE="stream_model_0" IPTYPE', b'INSTANCE="else" IPTYPE', "has no stream_model_0"),
        (b'NAME="c_include_sg" VALUE="0"', b'NAME="c_include_sg" VALUE="1"', "c_include_sg=1, not 0"),
        (
            b'"c_sg_length_width" VALUE="26"',
            b'"c_sg_length_width" VALUE="14"',
            "length_width=14, not 26",
        ),
    ],
)
def test_handoff_of_another_design_is_refused(old: bytes, new: bytes, match: str) -> None:
    data = hwh.build_hwh(make())
    hwh.check_hwh(hwh.parse_hwh(data), make())
    assert old in data
    with pytest.raises(ModelFileError, match=match):
        hwh.check_hwh(hwh.parse_hwh(data.replace(old, new)), make())


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "not valid XML"),
        (hwh.build_hwh(make())[:-200], "not valid XML"),
        (b"<html/>", "not a hardware handoff"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><EDKSYSTEM><MODULES/></EDKSYSTEM>', "document type"),
        (b'<?xml version="1.0" encoding="no-such"?><EDKSYSTEM/>', "not valid XML"),
    ],
)
def test_damaged_handoffs_are_refused(data: bytes, match: str) -> None:
    with pytest.raises(ModelFileError, match=match):
        hwh.parse_hwh(data)


# --- bit files ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BOARDS)
def test_bit_header_as_pynq_reads_it(name: str) -> None:
    from pynq.pl_server.embedded_device import parse_bit_header

    design = make(on=name)
    data = bitfile.build_bit(design, sha256(b"handoff"))
    theirs, ours = parse_bit_header(data), bitfile.parse_bit(data)
    assert (theirs["design"], theirs["part"]) == (ours.design, ours.part)
    assert bitfile.same_part(ours.part, design.board)
    assert ours.emulation
    assert (ours.hwh_digest, ours.model_id) == (sha256(b"handoff"), MODEL_ID)
    assert bitfile.MARK.encode() in data
    assert bitfile.SYNC_WORD not in theirs["data"]  # without it, a device ignores every byte
    assert len(theirs["data"]) % 4 == 0


def test_every_truncation_of_a_bit_file_is_refused() -> None:
    data = bitfile.build_bit(make(), sha256(b""))
    for length in range(len(data)):
        with pytest.raises(ModelFileError):
            bitfile.parse_bit(data[:length])
    with pytest.raises(ModelFileError, match="announced"):
        bitfile.parse_bit(data + b"x")


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        (bytes.fromhex("0ff00ff0"), bytes(4), "magic"),
        (b"b\x00\x0c7z020", b"z\x00\x0c7z020", "unknown header field 0x7a"),
        (b"nn_wrapper", b"\xffn_wrapper", "not ASCII"),
        (b"hls4attn-identity", b"hls4attn-whatever", "identity is missing"),
        (b"\xff\xff\xff\xff", bitfile.SYNC_WORD, "synchronisation word"),
    ],
)
def test_tampered_bit_files_are_refused(old: bytes, new: bytes, match: str) -> None:
    data = bitfile.build_bit(make(), sha256(b""))
    assert old in data
    with pytest.raises(ModelFileError, match=match):
        bitfile.parse_bit(data.replace(old, new, 1))


@pytest.mark.parametrize(
    ("header", "name", "same"),
    [
        ("7z020clg400", "pynq-z2", True),
        ("7z020", "pynq-z2", True),
        ("7z020clg484", "pynq-z2", False),
        ("7z010clg400", "pynq-z2", False),
        ("7z02", "pynq-z2", False),
        ("xczu3eg-sfvc784-2-e", "aup-zu3", True),
        ("xczu3eg", "aup-zu3", True),
        ("xczu7ev-ffvc1156-2-e", "aup-zu3", False),
        ("xck26-sfvc784-2LV-c", "kv260", True),
        ("", "kv260", False),
    ],
)
def test_part_of_a_header(header: str, name: str, same: bool) -> None:
    assert bitfile.same_part(header, board(name)) is same


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
    with pytest.raises(ModelFileError, match="stream_model_0 is at 0xA0010000"):
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
