# SPDX-License-Identifier: Apache-2.0
"""One self-contained page for a model, a build or a sweep."""
