# SPDX-License-Identifier: Apache-2.0
"""The bank of operators as a design: kept whole in files, refused when it is not one."""

import copy
import hashlib
from dataclasses import replace

import pytest
from overlay_designs import make

from hls4attn.models.errors import ModelFileError, SpecError
from hls4attn.models.formats import Fixed
from hls4attn.overlays import registers as reg
from hls4attn.overlays.boards import board
from hls4attn.overlays.design import KernelPort, OverlayDesign
from hls4attn.overlays.operators import MAX_OPERATORS, Operator, OperatorsDesign
from hls4attn.overlays.package import read_package, write_package
from hls4attn.overlays.ports import StreamPort


def operator(name: str, n_in: int = 4, n_out: int = 4, title: str = "") -> Operator:
    digest = hashlib.sha256(name.encode()).hexdigest()
    return Operator(name, title or name, digest, StreamPort((n_in,), Fixed(8, 3)), StreamPort((n_out,), Fixed(12, 4)))


BANK = (operator("small"), operator("wide_in", 40, 3), operator("wide_out", 5, 50))


def design(*operators: Operator, **options: object) -> OperatorsDesign:
    return OperatorsDesign.of(operators or BANK, board("pynq-z2"), **options)  # type: ignore[arg-type]


def test_kernels_are_those_of_the_operators_and_ports_the_largest() -> None:
    d = design()
    assert d.kernels == tuple(KernelPort(f"{o.name}_kernel", o.input, o.output) for o in BANK)
    assert (d.input, d.output) == (BANK[1].input, BANK[2].output)
    assert reg.SELECT in {register.offset for register in d.ip_registers}


def test_json_restores_an_equal_bank() -> None:
    d = design(name="bank", clock_mhz=50.0)
    assert OperatorsDesign.from_json(d.to_json()) == d


def test_package_restores_the_bank_as_such(tmp_path) -> None:
    written = write_package(design(), tmp_path)
    assert read_package(tmp_path).design == written.design
    assert type(read_package(tmp_path).design) is OperatorsDesign


@pytest.mark.parametrize(
    "changed",
    [
        (BANK[1], BANK[0], BANK[2]),
        BANK[:2],
        (*BANK[:2], operator("other", 5, 50)),
        (operator("small", 8), *BANK[1:]),
        (replace(BANK[0], model_id="0" * 64), *BANK[1:]),
        (replace(BANK[0], name="tiny"), *BANK[1:]),
    ],
    ids=["order", "number", "operator", "shape", "model", "name"],
)
def test_model_id_follows_from_every_operator_and_their_order(changed: tuple[Operator, ...]) -> None:
    assert design(*changed).model_id != design().model_id


def test_model_id_does_not_follow_titles() -> None:
    assert design(operator("small", title="another title"), *BANK[1:]).model_id == design().model_id


@pytest.mark.parametrize(
    ("operators", "message"),
    [
        ((), "needs operators"),
        ((operator("a"), operator("A")), "different names.*'a'"),
        (tuple(operator(f"o{i}") for i in range(MAX_OPERATORS + 1)), f"1 to {MAX_OPERATORS} operators"),
    ],
    ids=["none", "names alike", "too many"],
)
def test_banks_that_cannot_be_are_refused(operators: tuple[Operator, ...], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        OperatorsDesign.of(operators, board("pynq-z2"))


@pytest.mark.parametrize("name", ["", "1st", "a b", "x" * 58])
def test_names_that_are_no_identifiers_are_refused(name: str) -> None:
    with pytest.raises(SpecError, match="characters|letter"):
        operator(name)


def test_a_model_id_that_is_no_digest_is_refused() -> None:
    with pytest.raises(SpecError, match="SHA-256"):
        Operator("a", "a", "abc", BANK[0].input, BANK[0].output)


def break_output(data: dict) -> None:
    data["operators"][1]["output"]["shape"] = [3, "x"]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda d: d["operators"][0].update(name="other"), "model_id is not that of the bank"),
        (lambda d: d["operators"].pop(), "model_id is not that of the bank|input is not|output is not"),
        (lambda d: d["operators"].clear(), "1 to 64 operators"),
        (lambda d: d.update(operators={}), "operators"),
        (lambda d: d["operators"].append(5), "operator 3"),
        (lambda d: d["operators"][2].update(extra=1), "operator 2.*extra"),
        (lambda d: d["operators"][1].pop("title"), "operator 1.*title"),
        (break_output, "operator 1"),
        (lambda d: d["operators"][1]["input"].update(format="fixed<99"), "operator 1"),
        (lambda d: d.update(kind=OverlayDesign.kind), "not an overlay design"),
    ],
)
def test_damaged_manifests_are_refused_with_their_place(edit, message: str) -> None:
    data = copy.deepcopy(design().to_dict())
    edit(data)
    with pytest.raises(ModelFileError, match=f"here.*({message})"):
        OperatorsDesign.from_dict(data, "here")


def test_a_manifest_of_an_unknown_kind_is_refused(tmp_path) -> None:
    package = write_package(make(), tmp_path)
    text = package.manifest.read_text().replace(f'"{OverlayDesign.kind}"', "[]")
    package.manifest.write_text(text)
    with pytest.raises(ModelFileError, match="kind=\\[\\]"):
        read_package(tmp_path)
