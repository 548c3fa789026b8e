# SPDX-License-Identifier: Apache-2.0
"""Measurements: references and C simulation on this machine, overlays on a board, attention as sequences grow."""
