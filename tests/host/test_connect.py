# SPDX-License-Identifier: Apache-2.0
"""Which device `connect` gives, what it says, and what it needs."""

import re
import subprocess
import sys

import pytest

from hls4attn.host import connect as module
from hls4attn.host.connect import connect, device_tag, is_emulated
from hls4attn.models.errors import DeviceError, InputError, ToolError, UnsupportedError

pynq = pytest.importorskip("pynq")
pytestmark = pytest.mark.usefixtures("pynq_state")


class RealDevice(pynq.Device):
    """Stands for a device that PYNQ found."""

    def __init__(self, name: str) -> None:
        super().__init__("embedded_device0")
        self.name = name


@pytest.fixture(autouse=True)
def _no_wish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HLS4ATTN_EMULATED_BOARD", raising=False)


@pytest.fixture
def real(pynq_state: None) -> RealDevice:
    device = RealDevice("Pynq-Z2")
    pynq.Device._devices = [device]  # what probing would have found
    return device


@pytest.fixture
def nothing(pynq_state: None) -> None:
    pynq.Device._devices = []


@pytest.mark.usefixtures("nothing")
def test_without_a_board_the_default_is_emulated_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    device = connect()
    assert device is pynq.Device.active_device
    assert device_tag(device) == device.tag == "emulated:pynq-z2"
    assert is_emulated(device)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "emulated:pynq-z2" in lines[0]
    assert "no hardware" in lines[0]
    assert connect("PYNQ-Z2", quiet=True) is device  # one board, however often
    assert capsys.readouterr().err == ""
    assert connect("kv260", quiet=True) is not device


@pytest.mark.usefixtures("nothing")
def test_insisting_on_a_board_that_is_not_there() -> None:
    with pytest.raises(DeviceError, match=r"finds no board here.*connect\(emulated=True\)"):
        connect(emulated=False)


@pytest.mark.usefixtures("nothing")
def test_the_environment_asks_for_a_board(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HLS4ATTN_EMULATED_BOARD", "zcu104")
    assert connect(quiet=True).tag == "emulated:zcu104"
    assert connect("aup-zu3", quiet=True).tag == "emulated:aup-zu3"
    with pytest.raises(DeviceError):
        connect(emulated=False)


@pytest.mark.usefixtures("nothing")
def test_unknown_boards_are_not_emulated() -> None:
    with pytest.raises(UnsupportedError, match="Unknown board 'zedboard'"):
        connect("zedboard")


@pytest.mark.usefixtures("nothing")
def test_what_an_emulated_board_computes_with(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It stays as it is until somebody says otherwise; a new board follows the environment."""
    monkeypatch.setattr(module, "_emulated", {})
    monkeypatch.delenv("HLS4ATTN_EMULATED_MODEL", raising=False)
    device = connect()
    assert device.computes == "csim"
    assert connect(model="rtl") is device
    first, second = capsys.readouterr().err.splitlines()
    assert "RTL" not in first
    assert second.endswith("every result is computed on this computer, by simulated RTL)")
    assert connect(quiet=True).computes == "rtl"
    assert connect(quiet=True, model="csim").computes == "csim"
    monkeypatch.setenv("HLS4ATTN_EMULATED_MODEL", "rtl")
    assert connect(quiet=True).computes == "csim"
    assert connect("kv260", quiet=True).computes == "rtl"
    monkeypatch.setenv("HLS4ATTN_EMULATED_MODEL", "vhdl")
    for attempt in ({"board": "aup-zu3"}, {"model": "verilog"}):
        with pytest.raises(InputError, match="computes with csim or rtl. Received: 'v"):
            connect(**attempt)


def test_a_real_board_takes_no_model(real: RealDevice) -> None:
    with pytest.raises(DeviceError, match=r"board:Pynq-Z2 computes itself: leave model='rtl' out, or add emulated"):
        connect(model="rtl")
    assert "computes" not in vars(real)


def test_a_real_board_comes_first(real: RealDevice, capsys: pytest.CaptureFixture[str]) -> None:
    assert connect() is real
    assert pynq.Device.active_device is real
    assert device_tag(real) == "board:Pynq-Z2"
    assert not is_emulated(real)
    assert "board:Pynq-Z2 (hardware)" in capsys.readouterr().err
    assert connect("pynq-z2", emulated=False, quiet=True) is real


def test_a_real_board_of_another_name_is_refused(real: RealDevice) -> None:
    with pytest.raises(DeviceError, match=r"This is a Pynq-Z2, not a kv260.*emulated=True"):
        connect("kv260")
    assert connect("kv260", emulated=True, quiet=True).tag == "emulated:kv260"


def test_a_failing_probe_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_cls: type) -> list:
        raise RuntimeError("no answer from 10.0.0.1")

    monkeypatch.setattr(type(pynq.Device), "devices", property(fail))
    with pytest.raises(DeviceError, match=r"looked for devices: no answer from 10\.0\.0\.1"):
        connect()


@pytest.mark.parametrize(
    ("missing", "match"),
    [
        ("pynq", r'PYNQ is not installed\. Install it with: pip install "hls4attn\[board\]"'),
        ("pycparser", "pycparser below 3"),
        ("cffi", r"PYNQ does not import: .*hls4attn\[board\]"),
    ],
)
def test_a_missing_package_is_named_with_its_remedy(missing: str, match: str) -> None:
    code = f"""
import sys, warnings; warnings.simplefilter('ignore')
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] == {missing!r}:
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)
sys.meta_path.insert(0, Missing())
from hls4attn.models.errors import ToolError
from hls4attn.host.connect import connect
try:
    connect()
except ToolError as error:
    print(error)
    try:
        import hls4attn.host.driver
    except ToolError as again:
        print('same' if str(again) == str(error) else again)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert re.search(match, out), out
    assert out.splitlines()[-1] == "same"


def test_numpy_2_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    monkeypatch.setattr(np, "__version__", "2.1.3")
    with pytest.raises(ToolError, match=r"numpy 2\.1\.3: it needs numpy below 2"):
        connect()


def test_importing_connect_needs_no_pynq() -> None:
    code = "import sys, hls4attn.host.connect; print('pynq' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
    assert module.DEFAULT_BOARD == "pynq-z2"
