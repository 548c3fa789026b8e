# SPDX-License-Identifier: Apache-2.0
"""Stand-ins for Vivado and Vitis HLS that tests put on PATH."""
