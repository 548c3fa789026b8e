# SPDX-License-Identifier: Apache-2.0
"""What runs on the board or, in its place, on the laptop."""
