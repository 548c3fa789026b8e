# SPDX-License-Identifier: Apache-2.0
"""Gain-cell heads as a co-processor: an overlay that remembers.

The logic holds the windows of one or several layers of equal heads, and one table of currents for all of them.  An
input packet holds consecutive tokens of one layer, the one that LAYER says when the packet begins::

    token:   q[head][dim]  k[head][dim]  v[head][dim]     a byte a code, zero bytes up to a whole word
    answer:  sums[head][dim]                              one or two bytes a sum, zero bytes likewise

TLAST ends the last word of each packet.  A token enters the window with its last word; one that TLAST cuts short is
dropped, and ERROR says so.  Registers besides those of every model IP (`registers.CELL_REGISTERS`)::

    TOKENS         tokens since the reset, modulo 2**32
    CYCLES_LO/HI   cycles with a packet under way since the reset, 64 bits
    LAYER          layer that the next packet, CLEAR and FILLED mean
    COMMAND        CLEAR (the window of LAYER), CLEAR_ALL, USE_TABLE
    FILLED         slots of LAYER that hold a token
    TABLE_ADDRESS  next word of a new table; writing 0 begins one
    TABLE_DATA     its next current, sign-extended: age by age, the keys' levels, then the values' if they have others;
                   refused while a packet is under way, as COMMAND is
    ERROR          what was refused; writing 1 to a bit clears it

A new table is written beside the one in use, which USE_TABLE replaces, at once and for stored tokens too.  Nothing that
is refused changes anything else.  Reset empties all windows and counters; the table in use stays.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from hls4attn.models.errors import Hls4attnError, ModelFileError, SpecError, UnsupportedError
from hls4attn.models.formats import Codes
from hls4attn.models.operators import GainCellSpec
from hls4attn.models.operators.gain_scaling import Scalers
from hls4attn.overlays import registers, strict
from hls4attn.overlays.boards import Board
from hls4attn.overlays.design import KernelPort, OverlayDesign
from hls4attn.overlays.ports import StreamPort

CELLS_VLNV = "hls4attn:hls:gaincell:1.0"
KIND = "hls4attn-gaincell-design"
MAX_LAYERS = 64
#: Signed bits of a current; no kernel takes more.
MAX_CURRENT_WIDTH = 32
#: TUSER of the kernel's input: two bits of operation, six of layer.
USER_BITS = 8


@dataclass(frozen=True)
class GainCellDesign(OverlayDesign):
    """An overlay with the gain-cell heads of some layers; `of` makes one.

    Args:
        spec: the heads of a layer; scalers are the host's and not part of it.
        layers: windows, numbered from 0.
        current_width: signed bits of a current of any table.

    Raises:
        SpecError: for values that cannot be built.
        UnsupportedError: for noise or spread, which hardware does not have.
    """

    ip: str = "gaincell_0"
    spec: GainCellSpec = field(kw_only=True)
    layers: int = field(kw_only=True)
    current_width: int = field(kw_only=True)

    kind: ClassVar[str] = KIND
    ip_vlnv: ClassVar[str] = CELLS_VLNV
    ip_registers: ClassVar[tuple[registers.Register, ...]] = registers.CELL_REGISTERS
    further: ClassVar[Mapping[str, strict.Kind]] = {"spec": dict, "layers": int, "current_width": int}

    def __post_init__(self) -> None:
        if not 1 <= self.layers <= MAX_LAYERS:
            raise SpecError(f"Gain cells have 1 to {MAX_LAYERS} layers. Received: {self.layers}")
        needed = signed_bits(self.table)
        if not needed <= self.current_width <= MAX_CURRENT_WIDTH:
            raise SpecError(
                f"current_width must be {needed} (of the spec's own currents) to {MAX_CURRENT_WIDTH}. "
                f"Received: {self.current_width}"
            )
        source, answer = token_ports(self.spec)
        identity = cells_id(self.spec, self.layers, self.current_width)
        for name, value in (("model_id", identity), ("input", source), ("output", answer)):
            if getattr(self, name) != value:
                raise SpecError(f"{name} is not that of the spec. Expected: {value}. Received: {getattr(self, name)}")
        super().__post_init__()

    @classmethod
    def of(
        cls,
        spec: GainCellSpec,
        board: Board,
        *,
        layers: int = 1,
        name: str = "gaincell",
        clock_mhz: float = 100.0,
        current_width: int | None = None,
        **options: Any,
    ) -> GainCellDesign:
        """The overlay of a spec.

        Args:
            spec: the heads of a layer.
            board: it is built for.
            layers: windows.
            name: of the overlay.
            clock_mhz: requested clock.
            current_width: of any table's currents; those of the spec's own if not given.
            **options: other fields of a design.
        """
        width = signed_bits(table_of(spec)) if current_width is None else current_width
        source, answer = token_ports(spec)
        return cls(
            name=name,
            board=board,
            clock_mhz=clock_mhz,
            model_id=cells_id(spec, layers, width),
            input=source,
            output=answer,
            spec=in_logic(spec),
            layers=layers,
            current_width=width,
            **options,
        )

    @property
    def kernels(self) -> tuple[KernelPort, ...]:
        """One kernel; TUSER says what a word is: a token, or a command of the shell."""
        return tuple(replace(kernel, user_bits=USER_BITS) for kernel in super().kernels)

    @cached_property
    def table(self) -> Codes:
        """Currents at power-up, by age and entry: the words of a table, row by row."""
        return table_of(self.spec)

    def to_dict(self) -> dict[str, Any]:
        """Plain values; `from_dict` restores an equal object."""
        kept = {"spec": self.spec.to_config(), "layers": self.layers, "current_width": self.current_width}
        return super().to_dict() | kept

    @classmethod
    def _further_fields(cls, data: Mapping[str, Any], where: str) -> dict[str, Any]:
        try:
            spec = GainCellSpec.from_parameters(data["spec"])
        except Hls4attnError as error:
            raise ModelFileError(f"{where}: spec: {error}") from error
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError, MemoryError) as error:
            raise ModelFileError(f"{where}: spec: not one of gain cells: {error!r:.200}") from error
        return {"spec": spec, "layers": data["layers"], "current_width": data["current_width"]}


def in_logic(spec: GainCellSpec) -> GainCellSpec:
    """A spec without what the logic does not know: scalers and the gradient's slope.

    Raises:
        UnsupportedError: for noise or spread.
    """
    if not spec.nonideal.ideal:
        raise UnsupportedError(f"{spec.op_type} with noise or spread has no hardware; set nonideal=IDEAL")
    return replace(spec, scalers=Scalers.initial(spec.heads, spec.vdd), slope=GainCellSpec.slope)


def table_of(spec: GainCellSpec) -> Codes:
    """Currents by age and entry, as the logic holds them; keys and values with equally many levels share theirs."""
    return join_tables(spec, *(table[: spec.window] for table in spec.tables))


def join_tables(spec: GainCellSpec, keys: Codes, values: Codes) -> Codes:
    """One table from that of keys and that of values."""
    return keys if spec.k_levels == spec.v_levels else np.concatenate([keys, values], axis=1)


def token_ports(spec: GainCellSpec) -> tuple[StreamPort, StreamPort]:
    """A token on the stream, and its answer."""
    widest = max(spec.in_formats, key=lambda f: f.width)
    return StreamPort((3, spec.heads, spec.head_dim), widest), StreamPort((spec.heads, spec.head_dim), spec.out_format)


def cells_id(spec: GainCellSpec, layers: int, current_width: int) -> str:
    """SHA-256 of all that the logic holds at power-up: structure, constants and table."""
    names = ("heads", "head_dim", "window", "tile", "tiling", "q_levels", "k_levels", "v_levels", "pulse_steps")
    constants = [getattr(spec, name) for name in (*names, "charge_limit", "code_limit")]
    constants += [[r.multiplier, r.shift] for r in spec.rescales] + [layers, current_width]
    digest = hashlib.sha256(json.dumps(constants).encode())
    digest.update(np.ascontiguousarray(table_of(in_logic(spec)), dtype="<i8").tobytes())
    return digest.hexdigest()


def signed_bits(values: Codes) -> int:
    """Bits of a signed type that holds all values."""
    return 1 + max(int(values.max()).bit_length(), int(~values.min()).bit_length(), 1)
