# SPDX-License-Identifier: Apache-2.0
"""What the verbs of the command line do, apart from parsing arguments."""
