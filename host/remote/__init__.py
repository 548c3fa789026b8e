# SPDX-License-Identifier: Apache-2.0
"""The emulated board behind PYNQ.remote's gRPC protocol: PYNQ's own client, from version 3.1, takes it for a board."""
