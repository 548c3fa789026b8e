# SPDX-License-Identifier: Apache-2.0
"""`python -m hls4attn.host.remote`: an emulated board for PYNQ's own remote client."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hls4attn.host.connect import chosen_board, chosen_model
from hls4attn.host.library import BRING_KERNELS, make_overlay, overlay_flow
from hls4attn.host.simulated import simulated_kernel
from hls4attn.models.errors import DeviceError, Hls4attnError, ToolError
from hls4attn.models.zoo import zoo_model
from hls4attn.overlays.boards import board as find_board
from hls4attn.overlays.package import read_package, write_package

if TYPE_CHECKING:
    from hls4attn.host.remote.server import Served


def main(arguments: list[str] | None = None) -> int:
    """Serve until interrupted; returns the exit status."""
    try:
        return _serve(_parser().parse_args(arguments))
    except Hls4attnError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 0


def _parser() -> argparse.ArgumentParser:
    from hls4attn.host.remote.server import HOST, PORT  # needs gRPC, and says so

    parser = argparse.ArgumentParser(
        prog="python -m hls4attn.host.remote",
        description="Serve an emulated board to PYNQ's own remote client, from pynq 3.1 on; with "
        "HLS4ATTN_EMULATED_MODEL=rtl it runs Verilog. It is not protected: whoever reaches the port may use it.",
    )
    parser.add_argument(
        "sources",
        nargs="*",
        metavar="OVERLAY",
        help="what clients may load: a model (.onnx), the word operators or gaincell, or the files of such an overlay "
        "[the digits model]",
    )
    parser.add_argument("--board", default=None, help="which board to emulate [pynq-z2]")
    parser.add_argument("--host", default=HOST, help="address to listen on [%(default)s]")
    parser.add_argument("--port", type=int, default=PORT, help="0 for any that is free [%(default)s, PYNQ's]")
    parser.add_argument("--out", type=Path, default=Path("build/remote"), help="folder for overlays [%(default)s]")
    return parser


def _serve(given: argparse.Namespace) -> int:
    from hls4attn.host.remote.server import PORT, RemoteServer

    board = chosen_board(given.board)
    sources = given.sources or [str(zoo_model("digits-vit").folder / "consmax.onnx")]
    served: list[Served] = [_overlay(source, board, given.out) for source in sources]
    server = RemoteServer(find_board(board), served, host=given.host, port=given.port)
    port = server.start()
    print(f"{server.name} on {given.host}:{port}: no hardware, every result is computed on this computer")
    for package, _ in served:
        print(f"overlay {package.bit.resolve()}")
    print(f"clients: PYNQ_REMOTE_DEVICES={given.host}" + ("" if port == PORT else f", RemoteDevice(port={port})"))
    sys.stdout.flush()
    try:
        server.wait()
    finally:
        server.stop()
    return 0


def _overlay(source: str, board: str, folder: Path) -> Served:
    """An overlay, written if it is not there, and what its logic computes."""
    if source.endswith(".onnx"):
        kind, model = _converting(source).flow.Flow, chosen_model()
        flow = overlay_flow(source, board).where_rtl() if model == "rtl" else kind.open(Path(source), board=board)
        return write_package(flow.design, folder / board), flow.kernel(model)
    package = make_overlay(source, board, folder / board) if source in BRING_KERNELS else read_package(source)
    kernel = simulated_kernel(package.design, chosen_model())
    if kernel is None:
        raise DeviceError(f"{package.bit} does not say what its logic computes: name the model's .onnx file instead")
    return package, kernel


def _converting(source: str) -> Any:
    """The package with its modules that convert models.

    Raises:
        ToolError: if what they need is not installed.
    """
    try:
        import hls4attn.host.flow
    except ImportError as error:
        raise ToolError(f'{source}: {error}. Install with: pip install "hls4attn[convert]"') from error
    return hls4attn.host


if __name__ == "__main__":
    raise SystemExit(main())
