# SPDX-License-Identifier: Apache-2.0
"""The same script with the three lines that make attention exact, and refuse what would not be.

python examples/hls4ml_script.py MODEL.onnx FOLDER INPUTS.npy OUTPUTS.npy
"""

import sys

import hls4ml
import numpy as np
import onnx

from hls4attn.hls import check_hls_model, for_hls4ml

path, folder, inputs, outputs = sys.argv[1:]
model = onnx.load(path)
model = for_hls4ml(model)
config = hls4ml.utils.config_from_onnx_model(model, granularity="name", backend="Vitis")
hls_model = hls4ml.converters.convert_from_onnx_model(
    model, hls_config=config, backend="Vitis", io_type="io_parallel", output_dir=folder
)
check_hls_model(hls_model, model, config)
hls_model.compile()
np.save(outputs, hls_model.predict(np.load(inputs)))
