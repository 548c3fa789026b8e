# SPDX-License-Identifier: Apache-2.0
"""Codes to stream bytes and back: exact for every format, and nothing that does not fit gets through."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hls4attn.models.errors import InputError, SpecError, UnsupportedError
from hls4attn.models.formats import Fixed
from hls4attn.overlays.packing import pack, unpack
from hls4attn.overlays.ports import StreamPort


@st.composite
def ports(draw: st.DrawFn) -> StreamPort:
    signed = draw(st.booleans())
    width = draw(st.integers(1 + signed, 32))
    overflow = draw(st.sampled_from(["saturate", "saturate_symmetric"]))
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=3)))
    return StreamPort(shape, Fixed(width, draw(st.integers(-3, 9)), signed, overflow=overflow))


@st.composite
def batches(draw: st.DrawFn) -> tuple[StreamPort, np.ndarray]:
    port = draw(ports())
    n = draw(st.integers(1, 4))
    code = st.integers(port.format.min, port.format.max) | st.sampled_from([port.format.min, port.format.max])
    codes = draw(st.lists(code, min_size=n * port.elements, max_size=n * port.elements))
    return port, np.array(codes, dtype=np.int64).reshape(n, *port.shape)


@given(batches())
@settings(max_examples=150, deadline=None)
def test_round_trip_and_layout(case: tuple[StreamPort, np.ndarray]) -> None:
    port, codes = case
    packed = pack(codes, port)
    assert packed.shape == (len(codes), port.sample_bytes)
    assert packed.dtype == np.uint8
    assert packed.flags.c_contiguous
    assert port.sample_bytes % 4 == 0
    assert 0 <= port.pad_bytes < 4
    back = unpack(packed, port)
    assert back.dtype == np.int64
    assert back.shape == codes.shape
    assert np.count_nonzero(back != codes) == 0
    assert np.array_equal(unpack(packed.tobytes(), port), codes)
    # the layout, written independently: element by element, little-endian two's complement, zero padding
    size = port.element_bits // 8
    for sample, row in zip(codes, packed, strict=True):
        expected = b"".join(int(c).to_bytes(size, "little", signed=port.format.signed) for c in sample.ravel())
        assert row.tobytes() == expected + bytes(port.pad_bytes)


@given(batches(), st.data())
@settings(max_examples=150, deadline=None)
def test_one_code_outside_is_refused_with_its_place(case: tuple[StreamPort, np.ndarray], data: st.DataObject) -> None:
    port, codes = case
    index = tuple(data.draw(st.integers(0, n - 1)) for n in codes.shape)
    past = data.draw(st.integers(1, 1000))
    codes[index] = data.draw(st.sampled_from([port.format.max + past, port.format.min - past]))
    with pytest.raises(InputError) as error:
        pack(codes, port)
    for part in (f"Code {codes[index]} at index {index}", f"{port.format.min}..{port.format.max}", "1 of"):
        assert part in str(error.value)


@given(ports(), st.data())
@settings(max_examples=100, deadline=None)
def test_every_byte_string_is_unpacked_exactly_or_refused(port: StreamPort, data: st.DataObject) -> None:
    """What a board may send: either it is the packing of the codes returned, or it is refused."""
    raw = data.draw(st.binary(min_size=port.sample_bytes, max_size=port.sample_bytes))
    try:
        codes = unpack(raw, port)
    except InputError:
        used = raw[: port.sample_bytes - port.pad_bytes]
        values = np.frombuffer(used, port.dtype)
        assert not port.format.contains(values) or any(raw[len(used) :])
    else:
        assert pack(codes, port).tobytes() == raw


@pytest.mark.parametrize(("width", "bits"), [(2, 8), (8, 8), (9, 16), (16, 16), (17, 32), (32, 32)])
def test_the_fewest_bits_that_hold_the_format(width: int, bits: int) -> None:
    assert StreamPort((1,), Fixed(width, 0)).element_bits == bits
    assert StreamPort((1,), Fixed(width, 0, signed=False)).dtype == np.dtype(f"<u{bits // 8}")


PORT = StreamPort((2, 3), Fixed(6, 4))


@pytest.mark.parametrize("dtype", ["i1", "u1", ">i2", "u4", "i8", "u8"])
def test_any_integer_dtype_packs_the_same(dtype: str) -> None:
    codes = np.arange(12).reshape(2, 2, 3)
    assert np.array_equal(pack(codes.astype(dtype), PORT), pack(codes, PORT))


@pytest.mark.parametrize(
    ("codes", "match"),
    [
        (np.zeros((2, 2, 4), int), r"Expected shape \(N, 2, 3\). Received: \(2, 2, 4\)"),
        (np.zeros((2, 3), int), "add a batch axis"),
        (np.zeros((0, 2, 3), int), "batch is empty"),
        (np.zeros((1, 2, 3)), "dtype float64"),
        (np.zeros((1, 2, 3), bool), "dtype bool"),
        (np.zeros((1, 2, 3), object), "dtype object"),
        ([[[1, 2, 3], [4, 5]]], "Not an array"),
        (np.full((1, 2, 3), 2**63, np.uint64), "Code 9223372036854775808 at index"),
        (5, "Received: ()"),
        ("text", "Received"),
    ],
)
def test_what_is_no_batch_of_codes_is_refused(codes: object, match: str) -> None:
    with pytest.raises(InputError, match=match.replace("()", r"\(\)")):
        pack(codes, PORT)


def test_unpack_refuses_fractions_padding_and_other_dtypes() -> None:
    packed = pack(np.ones((2, 2, 3), int), PORT)
    with pytest.raises(InputError, match="8 bytes; 15 are not"):
        unpack(packed.tobytes()[:-1], PORT)
    packed[1, -1] = 1
    with pytest.raises(InputError, match="Padding of sample 1 is not zero"):
        unpack(packed, PORT)
    with pytest.raises(InputError, match="must be uint8"):
        unpack(packed.astype(np.int32), PORT)


def test_symmetric_formats_give_up_the_most_negative_code() -> None:
    port = StreamPort((1,), Fixed(8, 0, overflow="saturate_symmetric"))
    assert unpack(pack([[-127]], port), port)[0, 0] == -127
    with pytest.raises(InputError, match=r"-127\.\.127"):
        pack([[-128]], port)


def test_impossible_ports_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="up to 32 bits"):
        StreamPort((1,), Fixed(33, 0))
    for shape in ((), (0,), (-1, 2), (1,) * 9, (1 << 25,)):
        with pytest.raises(SpecError, match="A sample has"):
            StreamPort(shape, Fixed(8, 0))
