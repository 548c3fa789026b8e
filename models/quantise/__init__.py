# SPDX-License-Identifier: Apache-2.0
"""Post-training quantisation: a trained float transformer becomes an integer one without retraining."""

from hls4attn.models.quantise.calibration import check_calibration, choose_format
from hls4attn.models.quantise.plan import QuantisePlan

__all__ = ["QuantisePlan", "check_calibration", "choose_format"]
