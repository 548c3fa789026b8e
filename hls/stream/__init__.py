# SPDX-License-Identifier: Apache-2.0
"""Streaming designs: kernels as a network of processes and FIFOs, time-multiplexed to fit a small FPGA."""
