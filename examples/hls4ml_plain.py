# SPDX-License-Identifier: Apache-2.0
"""An hls4ml user's script: an ONNX file to C++, compiled, predicting.

python examples/hls4ml_plain.py MODEL.onnx FOLDER INPUTS.npy OUTPUTS.npy
"""

import sys

import hls4ml
import numpy as np
import onnx

path, folder, inputs, outputs = sys.argv[1:]
model = onnx.load(path)
config = hls4ml.utils.config_from_onnx_model(model, granularity="name", backend="Vitis")
hls_model = hls4ml.converters.convert_from_onnx_model(
    model, hls_config=config, backend="Vitis", io_type="io_parallel", output_dir=folder
)
hls_model.compile()
np.save(outputs, hls_model.predict(np.load(inputs)))
