# SPDX-License-Identifier: Apache-2.0
"""ONNX files exported elsewhere, brought to the dialect that the reader takes."""
