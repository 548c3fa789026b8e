# SPDX-License-Identifier: Apache-2.0
"""Published results of MLPerf Tiny on FPGAs: context for the figures of a board, not rivals of them.

Medians of the submitted result files (open division of v0.5, v0.7 and v1.0: hls4ml and FINN; closed division of v1.1:
fpgaConvNet).  A latency is one over the median throughput of the single stream.
"""

from __future__ import annotations

from dataclasses import dataclass

NOTE = (
    "other tasks and models; bare metal, without Linux and Python; hls4ml and FINN: PL at 100 MHz, energy on the "
    "board's 5 V rail"
)


@dataclass(frozen=True)
class Published:
    """One row of the published results.

    Attributes:
        model: name of the model.
        by: who submitted it, and the round.
        board: what it ran on.
        task: of the benchmark.
        quality: its quality metric; None where the source gives none.
        per_second: inferences a second.
        energy_uj: energy of an inference in microjoules; None where it was not measured.
    """

    model: str
    by: str
    board: str
    task: str
    quality: str | None
    per_second: float
    energy_uj: float | None = None

    @property
    def latency_s(self) -> float:
        """Seconds an inference."""
        return 1 / self.per_second


_Z2, _ARTY = "Pynq-Z2", "Arty A7-100T"

PUBLISHED = (
    Published("AD08", "hls4ml v0.7", _Z2, "anomaly detection", "AUC 0.83", 53_365.4, 30.006),
    Published("KWS-W3A3", "FINN v0.7", _Z2, "keyword spotting", "82.5 %", 57_268.1, 30.667),
    Published("CNV-W1A1", "FINN v0.7", _Z2, "CIFAR-10", "84.5 %", 661.47, 2_530.45),
    Published("RN07", "hls4ml v0.7", _Z2, "CIFAR-10", "83.5 %", 36.596, 44_190.5),
    Published("RN08", "hls4ml v1.0", _Z2, "CIFAR-10", "83.5 %", 130.83, 12_266.0),
    Published("IC", "hls4ml v0.5", _Z2, "CIFAR-10", None, 126.62),
    Published("AD08", "hls4ml v0.7", _ARTY, "anomaly detection", None, 30_685.7, 98.36),
    Published("KWS-W3A3", "FINN v0.7", _ARTY, "keyword spotting", None, 30_151.8, 53.72),
    Published("CNV-W1A1", "FINN v0.7", _ARTY, "CIFAR-10", None, 659.07, 3_418.9),
    Published("RN07", "hls4ml v0.7", _ARTY, "CIFAR-10", None, 30.139, 73_166.0),
    Published("ResNet", "fpgaConvNet v1.1, closed", "ZedBoard", "CIFAR-10", "86.0 %", 2_431.4),
    Published("DS-CNN", "fpgaConvNet v1.1, closed", "ZedBoard", "keyword spotting", "91.1 %", 3_087.9),
    Published("ResNet", "fpgaConvNet v1.1, closed", "Zybo", "CIFAR-10", "86.0 %", 317.5),
    Published("DS-CNN", "fpgaConvNet v1.1, closed", "Zybo", "keyword spotting", "91.1 %", 464.9),
    Published("DS-CNN", "fpgaConvNet v1.1, closed", "Cora-Z7", "keyword spotting", "91.1 %", 237.5),
)
