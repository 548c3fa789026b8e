# SPDX-License-Identifier: Apache-2.0
"""Verilog of the shell and of the streaming operators, and what makes, simulates and synthesises it."""
