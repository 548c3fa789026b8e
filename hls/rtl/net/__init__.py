# SPDX-License-Identifier: Apache-2.0
"""Whole models in RTL: a streaming module for each hardware node, and the network that connects them."""
