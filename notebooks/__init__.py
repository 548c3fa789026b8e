# SPDX-License-Identifier: Apache-2.0
"""Notebooks, delivered on a board by `pynq get-notebooks hls4attn`."""
