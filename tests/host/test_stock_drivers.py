# SPDX-License-Identifier: Apache-2.0
"""The driver that hls4ml ships for its boards, as installed and unmodified, on emulated boards.

hls4ml's design has DMA and kernel in a hierarchy `hier_0`, and a kernel that always runs.  So has this one, but for our
shell, which is started by one register write.
"""

import hashlib
import importlib.util
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from dense_model import make_design

from hls4attn.host.emulated.errors import EmulationDeadlock
from hls4attn.models.formats import Fixed
from hls4attn.overlays import bitfile, hwh
from hls4attn.overlays.design import DmaSpec, OverlayDesign
from hls4attn.overlays.package import Package, write_package
from hls4attn.overlays.ports import StreamPort

hls4ml = importlib.util.find_spec("hls4ml")  # the package itself takes seconds to import
if hls4ml is None or hls4ml.origin is None:
    pytest.skip("hls4ml, whose drivers are tried here, is not installed", allow_module_level=True)
pynq = pytest.importorskip("pynq")
from hls4attn.host.emulated_device import EmulatedDevice  # noqa: E402

pytestmark = pytest.mark.usefixtures("pynq_state")

TEMPLATES = Path(hls4ml.origin).parent / "templates" / "vivado_accelerator"
DRIVERS = {"pynq-z2": "pynq-z2", "zcu104": "zcu102"}  # board -> hls4ml's folder of drivers
HIERARCHY = "hier_0"
BITS, FRAC = 16, 10  # hls4ml's usual ap_fixed<16,6>
INPUT, OUTPUT = StreamPort((8,), Fixed(BITS, FRAC)), StreamPort((4,), Fixed(BITS, FRAC))
WEIGHTS = np.random.default_rng(11).integers(-7, 8, (8, 4))


def model(codes: np.ndarray) -> np.ndarray:
    """Weights in 32nds: |sum| <= 8 * 2**15 * 7 / 32, limited as the format says."""
    return np.clip(codes @ WEIGHTS >> 5, OUTPUT.format.min, OUTPUT.format.max)


def encode(x: np.ndarray) -> np.ndarray:
    """As the driver's own documentation suggests."""
    return np.vectorize(lambda value: np.int16(round(value * 2**FRAC)))(x)


def decode(y: np.ndarray) -> np.ndarray:
    return np.vectorize(lambda value: value * 2**-FRAC)(y)


def in_hierarchy(design: OverlayDesign) -> bytes:
    """The handoff as Vivado writes it after `group_bd_cells hier_0`: instances hier_0_x are hier_0/x."""
    root = ET.fromstring(hwh.build_hwh(design))
    grouped = [m for m in root.iter("MODULE") if m.get("INSTANCE", "").startswith(f"{HIERARCHY}_")]
    assert {m.get("INSTANCE") for m in grouped} == {design.dma.instance, design.ip}
    for module in grouped:
        name = module.get("INSTANCE", "").removeprefix(f"{HIERARCHY}_")
        module.set("FULLNAME", f"/{HIERARCHY}/{name}")
    return ET.tostring(root, encoding="utf-8", xml_declaration=True)


def package(folder: Path, on: str) -> Package:
    design = make_design(on, ip="hier_0_nn_0", dma=DmaSpec("hier_0_axi_dma_0"), input=INPUT, output=OUTPUT)
    handoff = in_hierarchy(design)
    bit = bitfile.build_bit(design, hashlib.sha256(handoff).hexdigest())
    return write_package(design, folder, bit=bit, handoff=handoff)


@pytest.fixture(params=DRIVERS)
def stock(request: pytest.FixtureRequest, tmp_path: Path):
    """hls4ml's class, and an overlay on the active device: the driver takes no other."""
    board = request.param
    path = TEMPLATES / DRIVERS[board] / "python_drivers" / "axi_stream_driver.py"
    spec = importlib.util.spec_from_file_location(f"stock_driver_{board}".replace("-", "_"), path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    device = EmulatedDevice(board)
    pynq.Device.active_device = device
    written = package(tmp_path, board)
    device.register_kernel(written.design, model)
    return module.NeuralNetworkOverlay, str(written.bit)


def draw(samples: int, seed: int = 0) -> np.ndarray:
    """Real inputs over the whole range, and the last codes of both ends."""
    codes = np.random.default_rng(seed).integers(-(2**15), 2**15, (samples, 8))
    codes[0, :2] = -(2**15), 2**15 - 1
    return codes * 2.0**-FRAC


def test_predictions_are_exact(stock) -> None:
    driver, bit = stock
    x = draw(50)
    network = driver(bit, x.shape, (50, 4), dtype=np.int16)
    network.hier_0.nn_0.write(0, 0x81)
    y, seconds, rate = network.predict(x, profile=True, encode=encode, decode=decode)
    assert np.array_equal(y, model(encode(x).astype(np.int64)) * 2.0**-FRAC)
    assert len(np.unique(y)) > 50
    assert seconds > 0
    assert rate > 0
    assert network.hier_0.nn_0.read(0x20) == 50


def test_codes_again_and_again(stock) -> None:
    """Without `decode`, which replaces the driver's buffer, a second prediction is possible."""
    driver, bit = stock
    network = driver(bit, (20, 8), (20, 4), dtype=np.int16)
    network.hier_0.nn_0.write(0, 0x81)
    for seed in range(3):
        codes = encode(draw(20, seed))
        assert np.array_equal(network.predict(codes), model(codes.astype(np.int64)))


def test_what_would_hang_a_board_is_said(stock) -> None:
    """Our shell was not started."""
    driver, bit = stock
    network = driver(bit, (1, 8), (1, 4), dtype=np.int16)
    with pytest.raises(EmulationDeadlock, match="hier_0_nn_0 was not started"):
        network.predict(encode(draw(1)))
