# SPDX-License-Identifier: Apache-2.0
"""Units between words of 32 bits: whole samples of any shape, in packets of several, under back pressure."""

from dataclasses import replace
from functools import cache
from math import prod
from pathlib import Path

import numpy as np
import pytest
from ip_icarus import packets_out
from rtl_checks import lint, refuted

from hls4attn.hls.rtl.ip import write_ip
from hls4attn.hls.rtl.net.words import from_words, to_words
from hls4attn.hls.rtl.packed import packed_unit
from hls4attn.hls.rtl.sim import RtlSim
from hls4attn.hls.rtl.unit import RtlUnit, rtl_unit
from hls4attn.hls.stream.ports import PortRows, code_bits
from hls4attn.models.errors import SpecError
from hls4attn.models.formats import Codes, Fixed
from hls4attn.models.operators import ConSmaxSpec, E2SoftmaxSpec, IntegerLayerNormSpec, SoftmaxSpec

NARROW, WIDE = Fixed(8, 3), Fixed(16, 11)


def consmax(fmt: Fixed, **kwargs: object) -> ConSmaxSpec:
    return ConSmaxSpec(fmt, (1.0, 0.5), (8.0, 11.0), (0.25, 0.3), (8, 7), **kwargs)


#: Spec and shape of a sample: (heads, rows, columns), or (rows, columns) of a norm.
CASES = {
    "rows that fill words": (consmax(NARROW), (2, 4, 8)),
    "causal, words across rows": (consmax(NARROW, causal=True), (2, 5, 5)),
    "words across heads and a padded sample": (SoftmaxSpec(Fixed(6, 2), (0.25, 0.3), causal=True), (2, 3, 3)),
    "one element": (E2SoftmaxSpec(NARROW, (0.25,)), (1, 1, 1)),
    "two passes, a head for all": (E2SoftmaxSpec(NARROW, (0.25,)), (3, 2, 7)),
    "16 bits in, signed out": (IntegerLayerNormSpec(Fixed(12, 6), Fixed(7, 4), (1.0,) * 6, (0.5,) * 6), (3, 6)),
}


def reference(name: str, codes: Codes) -> Codes:
    spec, shape = CASES[name]
    if isinstance(spec, IntegerLayerNormSpec) or spec.heads == shape[0]:
        return spec.reference(codes)
    return spec.reference(codes.reshape(len(codes), 1, -1, shape[-1])).reshape(codes.shape)


@cache
def built(name: str) -> tuple[RtlUnit, RtlSim, PortRows, PortRows]:
    spec, shape = CASES[name]
    causal = getattr(spec, "causal", False)
    formats = (spec.in_format, spec.out_format)
    unit = packed_unit("words", rtl_unit(spec, row_max=shape[-1]), shape, formats, causal)
    ports = (PortRows(prod(shape), 1, code_bits(fmt, name)) for fmt in formats)
    return unit, RtlSim(unit), *ports


def drawn(name: str, samples: int) -> Codes:
    spec, shape = CASES[name]
    return np.random.default_rng(5).integers(spec.in_format.min, spec.in_format.max + 1, (samples, *shape))


@pytest.mark.parametrize("stalls", [(0, 0), (30, 40), (0, 70), (70, 0)])
@pytest.mark.parametrize("name", CASES)
def test_samples_are_exact(name: str, stalls: tuple[int, int]) -> None:
    _, sim, into, out = built(name)
    codes = drawn(name, 31)
    joined = np.arange(len(codes)) % 3 != 0
    joined[-1] = False
    run = sim.run(to_words(codes, into), stalls=stalls, seed=3, out_lengths=out.words, joined=joined)
    found = from_words(run.outputs, out, CASES[name][0].out_format).reshape(codes.shape)
    assert np.array_equal(found, reference(name, codes))


def test_an_element_a_clock() -> None:
    """Where the unit takes one: words at either end cost no clock."""
    _, sim, into, out = built("rows that fill words")
    codes = drawn("rows that fill words", 50)
    run = sim.run(to_words(codes, into), out_lengths=out.words, joined=np.arange(50) < 49)
    assert codes.size <= run.cycles < codes.size + 10


@pytest.mark.parametrize("name", CASES)
def test_linters_have_nothing_to_say(name: str, tmp_path: Path) -> None:
    assert lint(tmp_path, built(name)[0]) == ""


def test_icarus_at_the_ports_of_the_ip(tmp_path: Path) -> None:
    name = "causal, words across rows"
    unit, _, into, out = built(name)
    source = write_ip("bank_kernel", unit, tmp_path, "xc7z020clg400-1")
    codes = drawn(name, 3)
    words = to_words(codes, into)
    found = packets_out(source, [words[:2].ravel(), words[2]], 30)
    assert [len(packet) for packet in found] == [2 * out.words, out.words]
    answers = from_words(np.concatenate(found).reshape(3, -1), out, CASES[name][0].out_format)
    assert np.array_equal(answers.reshape(codes.shape), reference(name, codes))


#: case, source, what is there, what is put in its place
MUTANTS = {
    "sample begins within a word": (
        "words across heads and a padded sample",
        "in",
        "sample_ends || lane ==",
        "lane ==",
    ),
    "mask": ("causal, words across rows", "in", "32'(column) <= 32'(row)", "32'(column) < 32'(row)"),
    "head": ("rows that fill words", "in", "HEADED != 0 ? head : '0", "'0"),
    "row's end": ("two passes, a head for all", "in", "m_tlast = column_ends", "m_tlast = row_ends"),
    "order of codes": ("rows that fill words", "in", "s_tdata >> (32'(lane) * BITS)", "s_tdata >> (32'(lane) * 0)"),
    "sign": ("16 bits in, signed out", "out", "IS_SIGNED != 0 && s_tdata", "IS_SIGNED == 0 && s_tdata"),
    "old codes in a word": ("rows that fill words", "out", "word <= word_ends ? '0 : m_tdata", "word <= m_tdata"),
    "packet's end": ("rows that fill words", "out", "sample_ends && end_tdata", "sample_ends"),
    "room": ("rows that fill words", "out", "!word_ends || m_tready &&", "!word_ends ||"),
}


LONG = ("order of codes", "row's end", "old codes in a word", "head", "sign")


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in LONG)) for n in MUTANTS])
def test_mutants_are_refuted(name: str) -> None:
    case, side, right, wrong = MUTANTS[name]
    unit, _, into, out = built(case)
    codes = drawn(case, 31)
    joined = np.arange(31) % 3 != 0
    words = to_words(reference(case, codes), out)
    file = f"op_words_{side}.sv"
    assert refuted(unit, file, right, wrong, to_words(codes, into), words, out_lengths=out.words, joined=joined)


def test_what_does_not_fit_is_refused() -> None:
    spec = consmax(NARROW)
    unit, out = rtl_unit(spec, row_max=8), spec.out_format
    assert packed_unit("words", unit, (2, 4, 8), (NARROW, out)).out_width == 32
    for shape, formats, wrong in (
        ((2, 4, 9), (NARROW, out), unit),
        ((3, 4, 8), (NARROW, out), unit),
        ((2, 4, 8), (WIDE, out), unit),
        ((2, 4, 8), (NARROW, out), replace(unit, heads=4)),
    ):
        with pytest.raises(SpecError, match=r"op_consmax has elements of 8 and \d bits, . head\(s\), rows of up to 8"):
            packed_unit("words", wrong, shape, formats)
