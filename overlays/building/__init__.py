# SPDX-License-Identifier: Apache-2.0
"""From an overlay's design and scripts to its bitstream, with the vendor's tools or, where they are not, up to them."""
