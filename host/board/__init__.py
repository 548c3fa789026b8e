# SPDX-License-Identifier: Apache-2.0
"""The drivers that PYNQ binds to our IPs, the DMA below them, and who may use it."""
