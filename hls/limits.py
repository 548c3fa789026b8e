# SPDX-License-Identifier: Apache-2.0
"""What the vendor tools refuse, as numbers."""

from __future__ import annotations

#: Iterations that are unrolled at most (XFORM 203-504).
MAX_UNROLL = 4096
#: Bits of a stream word.
MAX_WORD = 4096
#: Bits of a reshaped memory word (XFORM 203-133).
MAX_RESHAPED = 65536
#: Elements of an array that becomes registers or logic.
COMPLETE_PARTITION = 1024
#: Reads a cycle of one ROM in Vivado HLS, which ignores the pragma for more.
ROM_PORTS = 2
