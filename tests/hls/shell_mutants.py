# SPDX-License-Identifier: Apache-2.0
"""Mistakes in the Verilog of the shell, each of which its cases must refute."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """One text of a file that another replaces.

    Args:
        design: whose cases find it.
        file: of `hls/rtl`.
        right: the text, which is there once.
        wrong: in its place.
    """

    design: str
    file: str
    right: str
    wrong: str


#: Run by `make test`: at least one of every file.
SOME = {
    "a word is lost when the output stalls": Mutant(
        "plain", "attn_skid.v", "out_data <= spared ? spare : in_data", "out_data <= in_data"
    ),
    "a reset swallows the answer to a write": Mutant(
        "plain", "attn_axilite.v", "if (s_axi_bvalid && s_axi_bready)", "if (reset || (s_axi_bvalid && s_axi_bready))"
    ),
    "the first word's clock is not counted": Mutant("plain", "attn_control.v", "if (busy || begins)", "if (busy)"),
    "a packet begins before the last answer left": Mutant("bank", "attn_shell.v", "started && !busy", "started"),
    "SELECT changes the packet under way": Mutant("bank", "attn_shell.v", "if (begins)\n        target", "target"),
    "a token cut short stays": Mutant(
        "cells", "attn_tokens.v", "dropped ? next_token : next_in + ONE", "next_in + ONE"
    ),
    "windows outlive a reset": Mutant("cells", "attn_commands.v", "tell_clear_all <= 1'b1;", "tell_clear_all <= 1'b0;"),
    "commands are taken while a packet is under way": Mutant(
        "cells", "attn_commands.v", "refused = under_way || telling", "refused = telling"
    ),
    "TLAST comes with any answer": Mutant("cells", "attn_cells.v", "closed && due == 32'd1;", "closed;"),
}

OTHERS = {
    "a stalled word is overwritten": Mutant("plain", "attn_skid.v", "in_ready = !spared", "in_ready = 1'b1"),
    "a reset leaves a word behind": Mutant("plain", "attn_skid.v", "out_valid <= 1'b0;\n        spared <= 1'b0;", ""),
    "part of a word is written": Mutant("plain", "attn_axilite.v", "whole <= s_axi_wstrb == 4'hf", "whole <= 1'b1"),
    "the answer to a read is withdrawn": Mutant(
        "plain", "attn_axilite.v", "if (s_axi_rvalid && s_axi_rready)", "if (s_axi_rvalid)"
    ),
    "AP_DONE stays": Mutant("plain", "attn_control.v", "(done && !read_ctrl)", "done"),
    "AUTO_RESTART does nothing": Mutant("plain", "attn_control.v", "leaves ? auto_restart", "leaves ? 1'b0"),
    "it starts itself again": Mutant("plain", "attn_control.v", "leaves ? auto_restart", "leaves ? 1'b1"),
    "CTRL appears twice": Mutant("plain", "attn_control.v", "write_offset == CTRL", "write_offset[6:0] == CTRL[6:0]"),
    "registers are read at other addresses": Mutant(
        "plain", "attn_control.v", "case (read_offset)", "case ({9'd0, read_offset[6:0]})"
    ),
    "a reset leaves the counter": Mutant("plain", "attn_control.v", "cycles <= 64'd0;", ""),
    "input is taken before the start": Mutant("plain", "attn_shell.v", "started && !busy", "!busy"),
    "part of a word goes to the kernel": Mutant("plain", "attn_shell.v", "in_r_tlast && in_r_tkeep != 4'hf", "1'b0"),
    "words are counted for samples": Mutant("plain", "attn_shell.v", "out_r_tready && word_ends", "out_r_tready"),
    "SELECT takes any number": Mutant("bank", "attn_shell.v", "&& write_data <= LAST_KERNEL", ""),
    "a reset leaves SELECT": Mutant("bank", "attn_shell.v", "if (reset)\n        select <= 0;", ""),
    "words go to all kernels": Mutant("bank", "attn_shell.v", "in_valid && target == k", "in_valid"),
    "a token goes on before it is whole": Mutant(
        "cells", "attn_tokens.v", "next_out != next_token", "next_out != next_in"
    ),
    "the buffer overflows": Mutant("cells", "attn_tokens.v", "in_open && next_in - next_out != SIZE", "in_open"),
    "a reset leaves part of a token": Mutant("cells", "attn_tokens.v", "next_token <= 0;\n", ""),
    "a token with bytes missing is whole": Mutant("cells", "attn_tokens.v", "LAST_PLACE && !in_cut", "LAST_PLACE"),
    "a token is lost behind a command": Mutant("cells", "attn_cells.v", "room && !command_valid", "room"),
    "TLAST is missing after a token cut short": Mutant(
        "cells", "attn_cells.v", "known = !out_ends || closed || due > 32'd1", "known = 1'b1"
    ),
    "a packet without a token never ends": Mutant(
        "cells", "attn_cells.v", "leaves || (dropped && due == 32'd0)", "leaves"
    ),
    "a write to a busy kernel is refused at once": Mutant(
        "cells", "attn_commands.v", "hold && waited != PATIENCE", "1'b0"
    ),
    "a kernel that hangs hangs the processor": Mutant("cells", "attn_commands.v", "hold && waited != PATIENCE", "hold"),
    "a table begins inside a packet": Mutant("cells", "attn_commands.v", "(tell_begin && !busy)", "tell_begin"),
    "a reset leaves part of a table": Mutant(
        "cells", "attn_commands.v", "tell_begin <= 1'b1;\n        waited", "tell_begin <= 1'b0;\n        waited"
    ),
    "currents too large are taken": Mutant(
        "cells", "attn_commands.v", "!complete && extended == write_data", "!complete"
    ),
    "FILLED passes the window": Mutant("cells", "attn_commands.v", " && filled[i] != FULL", ""),
    "FILLED is of the wrong layer": Mutant("cells", "attn_commands.v", "begins ? layer : taken_layer", "layer"),
    "LAYER changes the packet under way": Mutant("cells", "attn_commands.v", "if (begins)\n        taken", "taken"),
    "a packet overtakes a command that waits": Mutant("cells", "attn_cells.v", "open && !blocks", "open"),
    "PACKET is not said": Mutant("cells", "attn_commands.v", "{dropped, table_error", "{1'b0, table_error"),
    "all errors are forgotten at once": Mutant("cells", "attn_commands.v", "? write_data[3:0]", "? 4'hf"),
    "an incomplete table is used": Mutant(
        "cells", "attn_commands.v", "if (uses && complete)\n        tell_use", "if (uses)\n        tell_use"
    ),
    "one current too few is complete": Mutant(
        "cells", "attn_commands.v", "table_address == WORD_COUNT", "table_address == WORD_COUNT - 1"
    ),
    "a token of one word is of the last packet's layer": Mutant(
        "least", "attn_commands.v", "begins ? layer : taken_layer", "taken_layer"
    ),
}
