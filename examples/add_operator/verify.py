# SPDX-License-Identifier: Apache-2.0
"""``hls4attn verify --operator squared-relu`` for a package that is not installed; takes the same options."""

import sys

import squared_relu

from hls4attn.host.cli import main

squared_relu.register()
main(["verify", "--operator", "squared-relu", *sys.argv[1:]])
