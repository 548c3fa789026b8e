# SPDX-License-Identifier: Apache-2.0
"""Single-token cached attention on a GPU: a fair baseline for the gain-cell figures, where there is a GPU.

The authors' baseline is an fp32 loop of batch 64.  This one is what a user would run: fp16, one fused kernel, one
query against a full cache.  Caches rotate through more memory than the device's last-level cache holds, as they would
in a model with many layers, so that keys and values come from memory each time.
"""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from hls4attn.models.errors import DeviceError, ToolError
from hls4attn.models.files import write_json
from hls4attn.models.operators.gain_cost import GPU_HEADS, HEAD_DIM, LATENCY_NS, MEASURED, SIMULATED, WINDOW

BATCHES = (1, 64)
#: Caches together: several times the last-level cache of any GPU so far.
ROTATED_BYTES = 1 << 30
WARM_UP, REPEATS, CALLS = 20, 15, 50


@dataclass(frozen=True)
class GpuRow:
    """One batch size.

    Attributes:
        batch: sequences that take their next token together.
        microseconds: of one call, the median over repeats.
        spread: half the range of the repeats.
        per_token: microseconds for one token of one sequence, all heads: the call over the batch.
        gigabytes: read from keys and values, a second.
        ratio: per_token over the 65 ns of the authors' circuit simulation.
    """

    batch: int
    microseconds: float
    spread: float
    per_token: float
    gigabytes: float
    ratio: float


def cache_bytes(batch: int) -> int:
    """Bytes of the keys and values of one call in fp16: 2 * batch * heads * tokens * head_dim * 2."""
    return 2 * batch * GPU_HEADS * WINDOW * HEAD_DIM * 2


def row_of(batch: int, repeats: list[float]) -> GpuRow:
    """The figures of a batch size from its repeats' microseconds a call."""
    middle = statistics.median(repeats)
    return GpuRow(
        batch,
        middle,
        (max(repeats) - min(repeats)) / 2,
        middle / batch,
        cache_bytes(batch) / (middle * 1e3),
        middle / batch * 1e3 / LATENCY_NS,
    )


def find_gpu() -> Any:
    """PyTorch with a usable CUDA device.

    Raises:
        ToolError: if PyTorch is missing.
        DeviceError: if there is no GPU.
    """
    try:
        import torch
    except ImportError as error:
        raise ToolError(
            "PyTorch is not installed, and the GPU baseline needs its fused attention: pip install torch"
        ) from error
    if not torch.cuda.is_available():
        raise DeviceError(
            "There is no GPU here, so nothing was measured; `hls4attn report claims --section gaincell` has the "
            "authors' baseline and the memory-bound floor"
        )
    return torch


def measure(torch: Any, batch: int) -> GpuRow:
    """Time one token for `batch` sequences: 12 heads of 64, a cache of 1024 tokens, fp16, a fused kernel.

    Raises:
        DeviceError: if no fused kernel takes it.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.nn.functional import scaled_dot_product_attention

    def random(tokens: int) -> Any:
        return torch.randn(batch, GPU_HEADS, tokens, HEAD_DIM, device="cuda", dtype=torch.float16)

    caches = [(random(WINDOW), random(WINDOW)) for _ in range(max(2, ROTATED_BYTES // cache_bytes(batch)))]
    query = random(1)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    place, repeats = 0, []
    try:
        with torch.inference_mode(), sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION]):
            for repeat in range(-1, REPEATS):
                calls = WARM_UP if repeat < 0 else CALLS
                torch.cuda.synchronize()
                start.record()
                for _ in range(calls):
                    keys, values = caches[place]
                    scaled_dot_product_attention(query, keys, values)
                    place = (place + 1) % len(caches)
                end.record()
                torch.cuda.synchronize()
                if repeat >= 0:
                    repeats.append(start.elapsed_time(end) * 1e3 / calls)
    except RuntimeError as error:
        raise DeviceError(f"The GPU ran no fused attention of batch {batch}: {error}") from error
    return row_of(batch, repeats)


def print_gpu_attention(out: Console, json: Path | None) -> None:
    """Measure and print every batch size.

    Raises:
        ToolError: if PyTorch is missing.
        DeviceError: if there is no GPU.
    """
    torch = find_gpu()
    device = torch.cuda.get_device_name()
    rows = [measure(torch, batch) for batch in BATCHES]
    out.print(
        f"{device}, PyTorch {torch.__version__}: next token, {GPU_HEADS} heads of {HEAD_DIM}, {WINDOW} tokens cached, "
        f"fp16, one fused kernel a call ({MEASURED}; the time between calls is in it)",
        soft_wrap=True,
        markup=False,
    )
    table = Table("batch", "us a call", "spread", "us a token", "GB/s", f"over {LATENCY_NS:g} ns", box=None)
    for r in rows:
        table.add_row(
            str(r.batch),
            *(f"{x:.2f}" for x in (r.microseconds, r.spread, r.per_token)),
            f"{r.gigabytes:.0f}",
            f"x{r.ratio:.0f}",
        )
    out.print(table)
    out.print(f"{LATENCY_NS:g} ns: {SIMULATED}, not measured; energy was not measured here", markup=False)
    if json:
        write_json(json, {"device": device, "label": MEASURED, "rows": [asdict(r) for r in rows]})
