# SPDX-License-Identifier: Apache-2.0
"""Quantisers of other dialects mean exactly the formats that they become, on every code and on every tie."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qonnx.custom_op.general.quant import quant as qonnx_quant
from qonnx.transformation.qcdq_to_qonnx import extract_elem_type

from hls4attn.models.errors import UnsupportedError
from hls4attn.models.export.reader import read_graph
from hls4attn.models.foreign import ImportChoices, import_model
from hls4attn.models.foreign.original import Original
from hls4attn.models.foreign.quantisers import Quantiser, better_format, checked, clipped, constant_codes, power_of_two
from tests.models.foreign_nets import Net

FRACS = st.integers(-6, 20)
HALVES = np.arange(-1200, 1201) / 4  # every code of 8 bits, all ties, and beyond both ends


def quantiser(scale, bits=8, signed=True, narrow=False):
    return Quantiser("q (Quant)", np.asarray(scale, dtype=np.float64), bits, signed, narrow)


def by_onnxruntime(values, frac, bits, signed, narrow):
    net = Net("qdq")
    output = net.quant("x", 2.0**-frac, bits, signed, narrow)
    return Original(net.model(output, values.shape), len(values)).run(values)[output][0]


@settings(max_examples=60, deadline=None)
@given(FRACS, st.integers(2, 8), st.booleans(), st.booleans())
def test_qdq_and_quant_and_the_format_agree_on_all_codes_and_ties(frac, bits, signed, narrow):
    narrow = narrow and signed
    values = np.ldexp(HALVES, -frac).astype(np.float32)
    fmt = quantiser(2.0**-frac, bits, signed, narrow).fixed(frac)
    ours = fmt.to_real(fmt.quantise(values))
    np.testing.assert_array_equal(ours, by_onnxruntime(values, frac, bits, signed, narrow))
    scale = np.float32(2.0**-frac)
    theirs = qonnx_quant(values, scale, np.float32(0), np.float32(bits), signed, narrow, "ROUND")
    np.testing.assert_array_equal(ours, theirs)


@settings(max_examples=30, deadline=None)
@given(FRACS, st.booleans(), st.sampled_from([8, 4]))
def test_codes_counted_from_the_other_end_are_the_other_type(frac, signed, bits):
    """What onnxruntime makes of QUInt8 with ActivationSymmetric, or of a Relu in QInt8; with a Clip in between too."""
    values = np.ldexp(HALVES, -frac).astype(np.float32)
    zero = -128 if signed else 128
    net = Net("qdq")
    parts = [net.const(2.0**-frac), net.const(zero, np.int8 if signed else np.uint8)]
    codes = net.node("QuantizeLinear", "x", *parts)
    if bits == 4:
        bounds = (zero, zero + 15) if signed else (zero - 8, zero + 7)
        codes = net.node("Clip", codes, *(net.const(b, np.int8 if signed else np.uint8) for b in bounds))
    output = net.node("DequantizeLinear", codes, *parts)
    theirs = Original(net.model(output, values.shape), len(values)).run(values)[output][0]
    y = net.node("MatMul", net.node("Reshape", output, net.ints(-1, 1)), net.weight((1, 1)))
    found = read_graph(import_model(net.model(y, ("batch", 1)), ImportChoices(samples=4)).model).input.format
    assert (found.width, found.signed) == (bits, not signed)
    np.testing.assert_array_equal(found.to_real(found.quantise(values)), theirs)


def test_rounding_half_up_would_be_noticed():
    values = np.array([0.5, 1.5, 2.5], dtype=np.float32)
    np.testing.assert_array_equal(by_onnxruntime(values, 0, 8, True, False), [0, 2, 2])
    assert list(quantiser(1.0).fixed(0).quantise(values)) == [0, 2, 2]


@pytest.mark.parametrize(
    ("low", "high", "bits", "signed", "narrow"),
    [(-8, 7, 4, True, False), (-7, 7, 4, True, True), (0, 15, 4, False, False), (-127, 127, 8, True, True)],
)
def test_clips_between_the_two_halves_make_fewer_bits(low, high, bits, signed, narrow):
    found = clipped(quantiser(0.5, signed=signed), low, high)
    assert (found.bits, found.signed, found.narrow) == (bits, signed, narrow)


@pytest.mark.parametrize(
    ("narrow", "bounds", "expected"),
    [
        (False, (0, np.inf), (7, False, False)),
        (False, (-np.inf, 7), None),
        (False, (-np.inf, np.inf), (8, True, False)),
        (False, (-127, np.inf), (8, True, True)),
        (True, (-128, 127), (8, True, True)),
    ],
)
def test_clips_never_widen_what_they_limit(narrow, bounds, expected):
    """Brevitas limits to [-127, 127]; a wider Clip after that changes nothing."""
    if expected is None:
        with pytest.raises(UnsupportedError, match="range of no format"):
            clipped(quantiser(0.5, narrow=narrow), *bounds)
        return
    found = clipped(quantiser(0.5, narrow=narrow), *bounds)
    assert (found.bits, found.signed, found.narrow) == expected


@pytest.mark.parametrize("bounds", [(-5, 3), (-8, 8), (1, 15), (-300, 99)])
def test_clips_to_the_range_of_no_format_are_refused(bounds):
    """`QCDQToQuant` of qonnx takes [-5, 3] for 4 bits and so forgets the limits."""
    if bounds == (-5, 3):
        assert extract_elem_type(onnx.TensorProto.INT8, tuple(map(np.array, bounds)))[0] == 4
    with pytest.raises(UnsupportedError, match=r"q \(Quant\): clipped to .*range of no format"):
        clipped(quantiser(0.5), *bounds)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(2, 9), min_size=2, max_size=6), st.integers(0, 1000))
def test_channels_of_different_powers_of_two_keep_every_value(fracs, seed):
    codes = np.random.default_rng(seed).integers(-128, 128, (4, len(fracs)))
    scale = np.ldexp(1.0, -np.array(fracs)).reshape(1, -1)
    ours, fmt, _ = constant_codes(quantiser(scale), codes * scale, exact=True)
    np.testing.assert_array_equal(fmt.to_real(ours), codes * scale)
    assert fmt.contains(ours) and fmt.frac == max(fracs)


def test_channels_too_far_apart_are_refused():
    scale = np.array([[1.0, 2.0**-20]])
    with pytest.raises(UnsupportedError, match="need 27 bits at a step of 2\\*\\*-20"):
        constant_codes(quantiser(scale), np.array([[127.0, 2.0**-20]]), exact=True)


def test_other_scales_are_refused_with_the_nearest_one_or_rounded_to_the_better():
    values = np.linspace(-12.0, 12.0, 97)
    with pytest.raises(
        UnsupportedError, match=r"scale 0\.1 is no power of two \(nearest: 2\*\*-3 = 0\.125\).*FixedPoint"
    ):
        constant_codes(quantiser(0.1), values, exact=True)
    _, fmt, notes = constant_codes(quantiser(0.1), values, exact=False)
    assert fmt.frac == 3 and "rounded" in notes[0]  # 2**-4 would clip at 8
    assert better_format(quantiser(0.1), values / 4).frac == 4  # nothing is clipped there


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"zero_point": np.array(100.0)}, "zero point 100, an asymmetric.*ActivationSymmetric"),
        ({"zero_point": np.array(128.0)}, "zero point 128"),  # of signed codes
        ({"zero_point": np.array([0.0, -128.0])}, "zero point -128"),
        ({"zero_point": np.array(-128.0), "narrow": True}, "zero point -128"),
        ({"scale": np.array([-0.5])}, "scales must be positive"),
        ({"scale": np.array([np.nan])}, "scales must be positive"),
        ({"mode": "FLOOR"}, "rounding mode FLOOR"),
        ({"bits": 1.0}, "1 bits, signed=1"),
        ({"bits": 3.5}, "3.5 bits"),
        ({"signed": False, "narrow": True}, "narrow=1 is no integer format"),
    ],
)
def test_parameters_without_an_integer_meaning(changes, message):
    given_ = {"scale": np.array(0.5), "zero_point": np.array(0.0), "bits": 8.0, "signed": True, "narrow": False}
    with pytest.raises(UnsupportedError, match=message):
        checked("q (Quant)", **({"mode": "ROUND"} | given_ | changes))


def test_powers_of_two():
    assert power_of_two(2.0**-7) == 7 and power_of_two(8.0) == -3
    assert power_of_two(np.nextafter(0.125, 1)) is None
