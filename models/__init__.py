# SPDX-License-Identifier: Apache-2.0
"""The mathematics: formats, operators, Keras layers, export.  No HLS, no PYNQ."""
