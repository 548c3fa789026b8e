# SPDX-License-Identifier: Apache-2.0
"""The verb `build`: from a model to the overlay's files, as far as the tools on this machine allow."""
