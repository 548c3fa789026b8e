# SPDX-License-Identifier: Apache-2.0
"""Many configurations of a model, on one machine or on many."""
