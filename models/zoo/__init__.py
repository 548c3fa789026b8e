# SPDX-License-Identifier: Apache-2.0
"""Real models with their training recipe and their small trained weights."""
