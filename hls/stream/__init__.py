# SPDX-License-Identifier: Apache-2.0
"""Streaming designs: one row a word, every kernel a process or a region of processes."""
