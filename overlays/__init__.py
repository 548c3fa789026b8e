# SPDX-License-Identifier: Apache-2.0
"""Overlays: one description per overlay, and the files and constants that derive from it."""
