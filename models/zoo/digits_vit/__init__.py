# SPDX-License-Identifier: Apache-2.0
"""Vision transformer for scikit-learn's handwritten digits: data, model, recipe, trained weights."""
