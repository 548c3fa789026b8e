# SPDX-License-Identifier: Apache-2.0
"""`.bit` files: reading the header of any, and writing one for the emulated board.

A `.bit` is a header of tagged fields followed by configuration data.  The file written here has a genuine
header, so that PYNQ, Vivado and `file` recognise it, names itself an emulation file in there, and carries
no configuration data: without the synchronisation word 0xAA995566 a device ignores every byte.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from hls4attn.models.errors import ModelFileError
from hls4attn.overlays.boards import Board
from hls4attn.overlays.design import OverlayDesign

MAX_BYTES = 256 << 20
MARK = "HLS4ATTN_EMULATION_ONLY"
SYNC_WORD = bytes.fromhex("aa995566")

_MAGIC = bytes.fromhex("0ff00ff00ff00ff000")
_NOTE = b"hls4attn emulation file: holds no configuration data and never configures a device"
_IDENTITY = b"\nhls4attn-identity-1:"
_TAGS = {0x61: "design", 0x62: "part", 0x63: "date", 0x64: "time"}


@dataclass(frozen=True)
class BitFile:
    """What a `.bit` says about itself.

    Args:
        design: name of the design, without the options behind it.
        part: device and package as the tool wrote them.
        emulation: whether the header marks it as an emulation file.
        hwh_digest: SHA-256 of the `.hwh` it belongs to, of an emulation file; else empty.
        model_id: of the model that an emulation file "contains"; else empty.
    """

    design: str
    part: str
    emulation: bool
    hwh_digest: str = ""
    model_id: str = ""


def build_bit(design: OverlayDesign, hwh_digest: str) -> bytes:
    """The `.bit` of an emulated overlay.

    PYNQ keys its cache of metadata by the `.bit` alone, so two designs must never share one: the digest of
    the `.hwh` is part of the payload.

    Args:
        design: the overlay.
        hwh_digest: SHA-256 of its `.hwh`, in hexadecimal.
    """
    payload = b"\xff" * 32 + _NOTE + _IDENTITY + f"{hwh_digest}{design.model_id}".encode()
    payload += b"\xff" * (-len(payload) % 4)  # PYNQ views the data as 32-bit words
    header = struct.pack(">H", len(_MAGIC)) + _MAGIC + struct.pack(">H", 1)
    header += _field(b"a", f"{design.name}_wrapper;{MARK};UserID=0XFFFFFFFF;Version=none")
    header += _field(b"b", _header_part(design))
    # fixed date and time: equal designs give equal files
    header += _field(b"c", "1980/01/01") + _field(b"d", "00:00:00")
    return header + b"e" + struct.pack(">I", len(payload)) + payload


def parse_bit(data: bytes, where: str = ".bit") -> BitFile:
    """Read the header of a `.bit`, and the identity of an emulation file.

    Raises:
        ModelFileError: if it is no `.bit`, truncated, or longer than its header says.
    """
    found: dict[str, str] = {}
    try:
        (length,) = struct.unpack_from(">H", data, 0)
        if length != len(_MAGIC) or data[2 : 2 + length] != _MAGIC:
            raise ModelFileError(f"{where}: not a .bit file (wrong magic number)")
        offset = 2 + length + 2
        while data[offset] != 0x65:
            tag = _TAGS.get(data[offset])
            if tag is None:
                raise ModelFileError(f"{where}: unknown header field 0x{data[offset]:02x}")
            (length,) = struct.unpack_from(">H", data, offset + 1)
            text = data[offset + 3 : offset + 3 + length]
            if len(text) != length:
                raise IndexError
            found[tag] = text.rstrip(b"\0").decode("ascii")
            offset += 3 + length
        (length,) = struct.unpack_from(">I", data, offset + 1)
        payload = data[offset + 5 :]
    except (IndexError, struct.error) as error:
        raise ModelFileError(f"{where}: truncated inside its header") from error
    except UnicodeDecodeError as error:
        raise ModelFileError(f"{where}: header text is not ASCII") from error
    if len(payload) != length:
        raise ModelFileError(f"{where}: {length} bytes of data announced, {len(payload)} found (truncated?)")
    if not {"design", "part"} <= set(found):
        raise ModelFileError(f"{where}: header names no design or part")
    name, *options = found["design"].split(";")
    if MARK not in options:
        return BitFile(name, found["part"], emulation=False)
    hwh_digest, model_id = _identity(payload, where)
    return BitFile(name, found["part"], True, hwh_digest, model_id)


def same_part(header_part: str, board: Board) -> bool:
    """Whether the part of a `.bit` header is that of `board`.

    A header may leave out `xc`, the package and the speed grade, but never the device.
    """
    header, device, whole = (
        re.sub(r"[^a-z0-9]", "", part.lower()).removeprefix("xc") for part in (header_part, board.device, board.part)
    )
    return header.startswith(device) and whole.startswith(header)


def _identity(payload: bytes, where: str) -> tuple[str, str]:
    start = payload.find(_IDENTITY)
    digests = payload[start + len(_IDENTITY) :][:128].decode("ascii", "replace")
    if start < 0 or not re.fullmatch("[0-9a-f]{128}", digests):
        raise ModelFileError(f"{where}: marked {MARK} but its identity is missing")
    if SYNC_WORD in payload:
        raise ModelFileError(f"{where}: marked {MARK} but holds a synchronisation word; refused")
    return digests[:64], digests[64:]


def _field(key: bytes, text: str) -> bytes:
    data = text.encode("ascii") + b"\0"
    return key + struct.pack(">H", len(data)) + data


def _header_part(design: OverlayDesign) -> str:
    """The part as Vivado writes it: `7z020clg400` for 7-series, the full name for UltraScale+."""
    board = design.board
    return board.part if board.family == "zynquplus" else board.device.removeprefix("xc") + board.package
