# SPDX-License-Identifier: Apache-2.0
"""The driver that PYNQ binds to the gain-cell IP: attention heads that remember, one token or many at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hls4attn.host.board.link import DmaLink
from hls4attn.host.board.packet_ip import PacketIp
from hls4attn.host.errors import DeviceGoneError
from hls4attn.models.errors import DeviceError, FormatError, InputError
from hls4attn.models.formats import Codes
from hls4attn.models.operators import GainCellSpec
from hls4attn.overlays import registers as reg
from hls4attn.overlays.gaincell import CELLS_VLNV, GainCellDesign, cells_id, join_tables
from hls4attn.overlays.packing import pack, unpack


class GainCellModel(PacketIp):
    """Runs tokens through the gain-cell heads in the logic, whose windows outlive a call.

    PYNQ binds it to the IP of a `GainCellDesign`; `load_overlay` returns it as `model`.

    Arguments are checked before anything is sent: after an InputError or FormatError all windows are as they were.
    After a DeviceError of `step` the board has been reset, and they are empty.
    """

    bindto = [CELLS_VLNV]  # noqa: RUF012  # read by PYNQ's metaclass

    def step(self, q: ArrayLike, k: ArrayLike, v: ArrayLike, layer: int = 0) -> Codes:
        """Sums of the tiles' codes of one token, or of tokens one after the other.

        Args:
            q: codes of shape ``(heads, head_dim)`` or ``(tokens, heads, head_dim)``.
            k: likewise.
            v: likewise.
            layer: whose window they enter.

        Returns:
            New int64 array of the same shape.

        Raises:
            InputError: for a wrong shape or dtype, no tokens, or a layer that is not there.
            FormatError: for codes outside their format.
            DeviceError: if the board fails.
        """
        design, _ = self._cells()
        self._check_layer(design, layer)
        shape, tokens = _tokens(design.spec, q, k, v)
        packed = pack(tokens, design.input)
        with self._lock:
            _, link = self._current()
            if not link.healthy():
                self._restart(link)
                raise DeviceError(
                    "The DMA had stopped, so it was reset, and all windows with it: begin again with the first token"
                )
            self.write(reg.LAYER, layer)
            try:
                data = self._exchange(link, packed, design.output.sample_bytes)
                sums = unpack(data, design.output)
            except InputError as error:
                self._restart(link)
                raise DeviceError(f"The board gave what the heads cannot give: {error}. {_EMPTY}") from error
            except DeviceGoneError:
                raise
            except DeviceError as error:
                raise type(error)(f"{error}. {_EMPTY}") from error
        return sums.reshape(shape)

    def clear(self, layer: int | None = None) -> None:
        """Forget all tokens, of one layer or of all; the table stays.

        Raises:
            InputError: for a layer that is not there.
            DeviceError: if the logic refuses, since somebody else's packet is under way.
        """
        design, _ = self._cells()
        if layer is not None:
            self._check_layer(design, layer)
        with self._lock:
            self.write(reg.LAYER, layer or 0)
            self._command(reg.CLEAR_ALL if layer is None else reg.CLEAR)

    def load_table(self, keys: ArrayLike, values: ArrayLike | None = None) -> None:
        """Replace the currents in all layers, of stored tokens too.

        Args:
            keys: currents of keys by age and level, ``(window, k_levels)``; a row more, for an empty slot, is ignored.
            values: those of values, ``(window, v_levels)``; the same as of keys if not given.

        Raises:
            InputError: for a wrong shape or dtype, or two tables where the heads have one.
            FormatError: for currents of more bits than the logic has.
            DeviceError: if the logic refuses.  After each of these errors the old table is in use.
        """
        design, _ = self._cells()
        spec, width = design.spec, design.current_width
        key_table = _table(spec, "keys", keys, spec.k_levels, width)
        value_table = key_table if values is None else _table(spec, "values", values, spec.v_levels, width)
        if value_table.shape[1] != spec.v_levels:
            raise InputError(f"Keys have {spec.k_levels} levels, values {spec.v_levels}: give a table of values, too")
        if spec.k_levels == spec.v_levels and not np.array_equal(key_table, value_table):
            raise InputError(
                f"With k_levels = v_levels = {spec.k_levels}, keys and values share one table; leave values out"
            )
        with self._lock:
            self.write(reg.ERROR, reg.TABLE_ERROR)
            self.write(reg.TABLE_ADDRESS, 0)
            for word in join_tables(spec, key_table, value_table).ravel().tolist():
                self.write(reg.TABLE_DATA, word & 0xFFFFFFFF)
            self._command(reg.USE_TABLE)

    def filled(self, layer: int = 0) -> int:
        """Slots of a layer's window that hold a token."""
        design, _ = self._cells()
        self._check_layer(design, layer)
        with self._lock:
            self.write(reg.LAYER, layer)
            return self.read(reg.FILLED)

    @property
    def layers(self) -> int:
        """Layers in the logic, each with a window of its own."""
        return self._cells()[0].layers

    @property
    def tokens(self) -> int:
        """Tokens of all layers since the last reset, counted by the logic modulo 2**32."""
        return self.read(reg.SAMPLES)

    def require(self, spec: GainCellSpec) -> None:
        """Check that the logic computes a spec's heads, its own table included.

        Raises:
            DeviceError: if it holds others.
        """
        design, _ = self._cells()
        wanted = cells_id(spec, design.layers, design.current_width)
        if wanted != design.model_id:
            raise DeviceError(
                f"The logic holds gain cells {design.model_id[:16]}..., not those of this spec, {wanted[:16]}...: "
                "write an overlay for it"
            )

    def _cells(self) -> tuple[GainCellDesign, DmaLink]:
        design, link = self._opened()
        if not isinstance(design, GainCellDesign):
            raise DeviceError(f"Overlay {design.name!r} is not one of gain cells")
        return design, link

    def _check_layer(self, design: GainCellDesign, layer: Any) -> None:
        if type(layer) is not int or not 0 <= layer < design.layers:
            raise InputError(f"Layers are 0 to {design.layers - 1}. Received: {layer!r}")

    def _command(self, command: int) -> None:
        """Do what the register COMMAND says, or say why the logic did not."""
        self.write(reg.ERROR, reg.BUSY_ERROR)
        self.write(reg.COMMAND, command)
        errors = self.read(reg.ERROR) & (reg.BUSY_ERROR | reg.TABLE_ERROR)
        if errors:
            self.write(reg.ERROR, errors)
            raise DeviceError(f"The gain cells refused: {reg.error_words(errors)}. Windows and table are as they were")


_EMPTY = "The board was reset: all windows are empty"


def _tokens(spec: GainCellSpec, *given: ArrayLike) -> tuple[tuple[int, ...], Codes]:
    """Shape of the operands, and tokens ``(N, 3, heads, head_dim)``."""
    try:
        shape = np.shape(given[0])
        arrays = [np.asarray(a) for a in given]
    except (ValueError, TypeError) as error:
        raise InputError(f"Not an array: {error}") from error
    if shape[-2:] != (spec.heads, spec.head_dim) or len(shape) not in (2, 3) or 0 in shape:
        raise InputError(
            f"q, k and v have shape (heads={spec.heads}, head_dim={spec.head_dim}), or (tokens, heads, head_dim) with "
            f"one token or more. Received: {shape}"
        )
    for name, a, fmt in zip("qkv", arrays, spec.in_formats, strict=True):
        if a.dtype.kind not in "iu" or a.shape != shape:
            raise InputError(f"{name} must be integer codes of shape {shape}. Received: {a.dtype} of shape {a.shape}")
        if not fmt.contains(a):
            raise FormatError(f"{name} outside {fmt}. Received: [{a.min()}, {a.max()}]")
    return shape, np.stack([a.astype(np.int64).reshape(-1, *shape[-2:]) for a in arrays], axis=1)


def _table(spec: GainCellSpec, name: str, given: ArrayLike, levels: int, width: int) -> NDArray[np.int64]:
    try:
        a = np.asarray(given)
    except (ValueError, TypeError) as error:
        raise InputError(f"Not an array: {error}") from error
    if a.dtype.kind not in "iu" or a.shape not in ((spec.window, levels), (spec.window + 1, levels)):
        raise InputError(
            f"Currents of {name} must be integers of shape ({spec.window}, {levels}). "
            f"Received: {a.dtype} of shape {a.shape}"
        )
    a, top = a[: spec.window], 1 << (width - 1)
    if a.min() < -top or a.max() >= top:
        raise FormatError(
            f"Currents of {name} must be within [{-top}, {top - 1}]. Received: [{a.min()}, {a.max()}]; the overlay has "
            f"current_width={width}"
        )
    return a.astype(np.int64)
