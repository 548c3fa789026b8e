# SPDX-License-Identifier: Apache-2.0
"""Character-level GPT with one seam for its attention: softmax, ConSmax, gain cells; data, model, recipe, evidence."""
