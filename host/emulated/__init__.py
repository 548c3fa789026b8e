# SPDX-License-Identifier: Apache-2.0
"""A PYNQ board as a model in Python, without PYNQ: memory, registers, DMA, model IP and address map."""
