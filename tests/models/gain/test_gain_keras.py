# SPDX-License-Identifier: Apache-2.0
"""Gain cells in Keras: codes of the reference, values of the float model, gradients, export, adaptation, folding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
pytest.importorskip("qkeras")

from gain_oracles import CASES, SMALL, random_codes, tile_of  # noqa: E402
from qkeras import QDense  # noqa: E402
from tensorflow import keras  # noqa: E402

from hls4attn.models.errors import InputError, SpecError, UnsupportedError  # noqa: E402
from hls4attn.models.export import Reference, read_graph  # noqa: E402
from hls4attn.models.export.keras_export import export_keras  # noqa: E402
from hls4attn.models.export.keras_stage import KerasStage, load_keras  # noqa: E402
from hls4attn.models.export.stages import OnnxRuntimeStage, QonnxStage  # noqa: E402
from hls4attn.models.formats import Fixed  # noqa: E402
from hls4attn.models.layers import ClippedActivation, FixedQuantizer, GainCellAttention, GainCells  # noqa: E402
from hls4attn.models.operators import GainCellSpec  # noqa: E402
from hls4attn.models.operators.gain_curve import CUBIC_CELL, LINEAR_CELL  # noqa: E402
from hls4attn.models.operators.gain_float import code_sums, gradient  # noqa: E402
from hls4attn.models.operators.gain_integer import real_currents  # noqa: E402
from hls4attn.models.operators.gain_scaling import NonIdeality, Scalers  # noqa: E402
from hls4attn.models.quantise import choose_format  # noqa: E402
from hls4attn.models.quantise.adapt import Probe, adapt_scalers, collect_targets, gain_layers  # noqa: E402


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("tokens", [3, 30])
def test_codes_are_the_reference_and_the_float_model(name, tokens):
    spec = GainCellSpec(**CASES[name], heads=2)
    codes = random_codes(spec, 2, tokens, seed=6)
    tensors = [c.astype(np.float32) for c in codes]
    assert np.array_equal(GainCells(spec)(tensors).numpy(), spec.reference(*codes))
    assert np.array_equal(GainCells(spec, quantised=False)(tensors).numpy(), code_sums(spec, *codes))


def test_paper_size():
    spec = GainCellSpec()
    codes = random_codes(spec, 1, 1100)
    got = GainCells(spec)([c.astype(np.float32) for c in codes])
    assert np.array_equal(got.numpy(), spec.reference(*codes))


def surrogate(spec, codes, upstream, quantised):
    """Section 2.6 by codes, slot by slot, from the integers' charges or from those of the float model."""
    one = 2.0**spec.current_frac
    unit = [one, one] if quantised else [1.0, 1.0]
    tables = spec.tables if quantised else [real_currents(spec, n) for n in (spec.k_levels, spec.v_levels)]
    w = [(c / (n - 1) - 0.5) * spec.vdd for c, n in zip(codes[1:], (spec.k_levels, spec.v_levels), strict=True)]
    found = [np.zeros(codes[0].shape) for _ in "qkv"]
    for where in np.ndindex(codes[0].shape[:3]):
        *head, t = where
        q, k, v, wk, wv = (a[tuple(head)] for a in (*codes, *w))
        seen = range(max(0, t - spec.window + 1), t + 1)
        charge, phi, ratio = {}, {}, {}
        for j in seen:
            score = tables[0][t - j, k[j]] @ q[t]
            ratio[j] = score / ((spec.q_levels - 1) * unit[0] * spec.score_saturation)
            pulse = np.clip(spec.rescales[0](np.array(score)), 0, spec.pulse_steps) if quantised else 0
            phi[j] = pulse / spec.pulse_steps if quantised else np.clip(ratio[j], 0, 1)
            tile = charge.setdefault(tile_of(spec, j), np.zeros(spec.head_dim))
            tile += (pulse if quantised else phi[j]) * tables[1][t - j, v[j]]
        limit = spec.charge_limit if quantised else spec.context_saturation
        for j in seen:
            g = np.exp(-spec.leak * (t - j))
            inside = np.abs(charge[tile_of(spec, j)] / limit) <= 1
            d_charge = upstream[where] / (spec.out_step * spec.context_saturation) * inside
            d_score = spec.slope * g * (d_charge @ wv[j]) / spec.score_saturation * (0 <= ratio[j] <= 1)
            found[0][where] += spec.slope * g * d_score * wk[j] / (spec.q_levels - 1)
            at = (*head, j)
            found[1][at] += spec.slope * g * d_score * q[t] / (spec.q_levels - 1) * spec.vdd / (spec.k_levels - 1)
            found[2][at] += spec.slope * g * phi[j] * d_charge * spec.vdd / (spec.v_levels - 1)
    return found


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("quantised", [True, False])
def test_gradient_is_the_surrogate(name, quantised):
    spec = GainCellSpec(**CASES[name], heads=2)
    codes = random_codes(spec, 2, 17, seed=7)
    upstream = np.random.default_rng(8).normal(size=codes[0].shape).astype(np.float32)
    tensors = [tf.constant(c, tf.float32) for c in codes]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        loss = tf.reduce_sum(GainCells(spec, quantised)(tensors) * upstream)
    want = surrogate(spec, codes, upstream, quantised)
    for x, got, expected in zip("qkv", tape.gradient(loss, tensors), want, strict=True):
        assert np.linalg.norm(got.numpy() - expected) <= 1e-5 * np.linalg.norm(expected), x
    assert np.linalg.norm(want[2]) > 0


def test_saving_and_refusals(tmp_path):
    spec = GainCellSpec(**CASES["measured cell"], heads=2, tiling="absolute")
    shape = (2, 7, 5)
    start = [keras.Input(shape, name=n) for n in "qkv"]
    model = keras.Model(start, GainCells(spec, name="cells")(start))
    model.save(tmp_path / "cells.keras")
    assert load_keras(tmp_path / "cells.keras").get_layer("cells").spec() == spec
    with pytest.raises(SpecError, match="fixed number of tokens"):
        GainCells(spec)([keras.Input((2, None, 5))] * 3)
    with pytest.raises(SpecError, match="head_dim=5"):
        GainCells(spec)([keras.Input((2, 7, 4))] * 3)
    with pytest.raises(UnsupportedError, match="noise and spread"):
        GainCells(replace(spec, nonideal=NonIdeality(mismatch=0.1)))


def test_export_gives_the_same_codes():
    spec = GainCellSpec(**SMALL, heads=2)
    x = keras.Input((2, 16, 5), name="tokens")
    tokens = ClippedActivation("ufixed<4,0>", name="start")(x)
    operands = [ClippedActivation(str(f), name=n)(tokens) for n, f in zip("qkv", spec.in_formats, strict=True)]
    for quantised in (True, False):
        model = keras.Model(x, GainCells(spec, quantised, name="cells")(operands))
        if not quantised:
            with pytest.raises(UnsupportedError, match="quantised=False"):
                export_keras(model)
            continue
        graph = read_graph(export_keras(model))
        codes = np.random.default_rng(0).integers(0, 16, (6, 2, 16, 5))
        want = Reference(graph).run(codes)
        stage = KerasStage(graph, model)
        assert np.array_equal(stage.run(codes), want)
        assert want.std() > 1


LINEAR = GainCellSpec(
    2, 8, window=16, tile=8, k_levels=4, v_levels=4, score_saturation=10.0, context_saturation=5.0, cell=LINEAR_CELL
)
CUBIC = replace(LINEAR, cell=CUBIC_CELL)


def network(spec, seed, layers=2, quantised=False):
    """A random stack of attention layers with residuals."""
    keras.utils.set_random_seed(seed)
    x = y = keras.Input((24, 12))
    for n in range(layers):
        y = keras.layers.Add()([y, GainCellAttention(spec, quantised, name=f"attention_{n}")(y)])
    model = keras.Model(x, keras.layers.Dense(5)(y), name="network")
    rng = np.random.default_rng(seed)
    for layer in gain_layers(model).values():
        ranges = ((0.1, 0.4), (-0.1, 0.2), (0.05, 0.2), (0.4, 0.5), (0.05, 0.2), (0.4, 0.5), (0.5, 1.5), (-0.2, 0.2))
        layer.set_scalers(Scalers(*(tuple(rng.uniform(*r, spec.heads)) for r in ranges)))
    return model


def batch_of(seed, samples=8):
    return np.random.default_rng(seed).normal(size=(samples, 24, 12)).astype(np.float32)


@pytest.mark.parametrize("quantised", [True, False])
def test_attention_is_its_spec_between_projections(quantised):
    """Float cells: the spec's own float function; integers: its reference, from the folded projections."""
    model = network(CUBIC, 0, 1, quantised)
    (layer,) = gain_layers(model).values()
    x = batch_of(1)
    got = layer(x).numpy()
    spec, p = layer.spec(), layer.code_projections()
    last = (spec.q_levels - 1, spec.k_levels - 1, spec.v_levels - 1)
    codes = [np.rint(np.clip(x @ w + b, 0, n)).astype(np.int64) for (w, b), n in zip(p[:3], last, strict=True)]
    codes = [c.reshape(8, 24, 2, 8).swapaxes(1, 2) for c in codes]
    sums = spec.reference(*codes) if quantised else code_sums(spec, *codes)
    want = sums.swapaxes(1, 2).reshape(8, 24, 16) @ p.o[0] + p.o[1]
    assert np.allclose(got, want, atol=1e-5)
    assert got.std() > 0.1
    if not quantised:
        raw = [x @ d.kernel.numpy() + d.bias.numpy() for d in (layer.wq, layer.wk, layer.wv)]
        raw = [r.reshape(8, 24, 2, 8).swapaxes(1, 2) for r in raw]
        y = spec.real(*raw).swapaxes(1, 2).reshape(8, 24, 16) @ layer.wo.kernel.numpy() + layer.wo.bias.numpy()
        assert np.allclose(got, y, atol=1e-5)


def test_scalers_and_projections_train():
    """Gradients of the float layer are the spec's own, carried through the projections."""
    model = network(CUBIC, 0, 1)
    (layer,) = gain_layers(model).values()
    x = batch_of(2)
    upstream = np.random.default_rng(3).normal(size=x.shape).astype(np.float32)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x) * upstream)
    found = dict(
        zip((v.name for v in layer.trainable_variables), tape.gradient(loss, layer.trainable_variables), strict=True)
    )
    assert len(found) == 16
    raw = [(x @ d.kernel + d.bias).numpy() for d in (layer.wq, layer.wk, layer.wv)]
    heads = [r.reshape(8, 24, 2, 8).swapaxes(1, 2) for r in raw]
    inner = (upstream @ layer.wo.kernel.numpy().T).reshape(8, 24, 2, 8).swapaxes(1, 2)
    want = gradient(layer.spec(), *heads, upstream=inner)
    for name in Scalers.NAMES:
        (got,) = (g.numpy() for n, g in found.items() if n.split("/")[-1].startswith(f"{name}:"))
        assert np.allclose(got, want[name], rtol=1e-4, atol=1e-4 * np.abs(want[name]).max()), name
    for name, dense in zip("qkv", (layer.wq, layer.wk, layer.wv), strict=True):
        by_column = want[name].swapaxes(1, 2).reshape(8, 24, 16)
        (got,) = (g.numpy() for n, g in found.items() if n == dense.kernel.name)
        kernel = np.einsum("btm,btc->mc", x, by_column)
        assert np.allclose(got, kernel, rtol=1e-4, atol=1e-4 * np.abs(kernel).max()), name


def test_folding_keeps_the_function(tmp_path):
    model = network(LINEAR, 3, quantised=True)
    x = batch_of(4)
    before = model(x).numpy()
    for layer in gain_layers(model).values():
        layer.fold()
        assert layer.spec().scalers == Scalers(*((1.0, 1.0), (0.0, 0.0)) * 4)
    assert np.allclose(model(x).numpy(), before, rtol=1e-4, atol=1e-5)
    model.save(tmp_path / "folded.keras")
    assert np.array_equal(load_keras(tmp_path / "folded.keras")(x).numpy(), model(x).numpy())


def test_folded_attention_exports_as_a_whole():
    """Quantised projections with the scalers inside, the cells, and back: every stage gives the reference's codes."""
    source = network(CUBIC, 0, 1, quantised=True)
    (layer,) = gain_layers(source).values()
    spec, p = layer.spec(), layer.code_projections()

    def dense(name, x, weights, out_format):
        formats = [choose_format(w, bits, cover=True) for w, bits in zip(weights, (8, 14), strict=True)]
        made = QDense(
            weights[1].size,
            kernel_quantizer=FixedQuantizer(formats[0]),
            bias_quantizer=FixedQuantizer(formats[1]),
            name=name,
        )
        y = ClippedActivation(str(out_format), name=f"{name}_codes")(made(x))
        made.set_weights([f.to_real(f.quantise(w)) for f, w in zip(formats, weights, strict=True)])
        return y

    x = keras.Input((24, 12), name="x")
    tokens = ClippedActivation("fixed<8,4>", name="tokens")(x)
    operands = []
    for name, weights, fmt in zip("qkv", p[:3], spec.in_formats, strict=True):
        flat = dense(name, tokens, weights, fmt)
        operands.append(keras.layers.Permute((2, 1, 3), name=f"{name}_heads")(keras.layers.Reshape((24, 2, 8))(flat)))
    sums = GainCells(spec, name="cells")(operands)
    merged = keras.layers.Reshape((24, 16))(keras.layers.Permute((2, 1, 3))(sums))
    model = keras.Model(x, dense("out", merged, p.o, Fixed(10, 6)), name="folded")
    proto = export_keras(model)
    graph = read_graph(proto)
    codes = np.clip(np.rint(batch_of(9) * 16), -128, 127).astype(np.int64)
    want, trace = Reference(graph).run(codes), Reference(graph).trace(codes)
    for stage in (KerasStage(graph, model), OnnxRuntimeStage(graph, proto), QonnxStage(graph, proto)):
        assert np.count_nonzero(stage.run(codes) != want) == 0, stage.name
        for name, value in stage.trace(codes).items():
            assert np.array_equal(value, trace[name]), (stage.name, name)
    exact = layer((codes / 16).astype(np.float32)).numpy()
    assert np.corrcoef(want.ravel(), exact.ravel())[0, 1] > 0.98


@pytest.fixture(scope="module")
def trained():
    return network(LINEAR, 5)


@pytest.mark.parametrize(("reset", "quantised"), [(True, True), (False, False)])
def test_adaptation_matches_the_statistics(trained, reset, quantised):
    other = network(CUBIC, 5, quantised=quantised)  # of one seed: the same weights
    assert all(np.array_equal(a, b) for a, b in zip(other.weights, trained.weights, strict=True))
    x = batch_of(6, 32)
    targets = collect_targets(trained, [x])
    plain = np.abs(other(x) - trained(x)).mean()
    seen = []
    result = adapt_scalers(other, targets, x, reset=reset, tolerance=2e-3, on_iteration=seen.append)
    assert result.converged
    assert list(result.curve) == seen
    assert result.curve[-1].error <= 2e-3 < result.curve[0].error
    assert len(seen) < 60
    assert [i.step for i in seen[:2]] == pytest.approx([1.0, 0.982])
    found = Probe(other)(x)
    for layer, by_name in targets.items():
        for scaler, want in by_name.items():
            assert np.allclose(found[layer][scaler], want, atol=2e-3), (layer, scaler)
    assert np.abs(other(x) - trained(x)).mean() < plain
    adapted = other(x).numpy()
    for layer in gain_layers(other).values():
        layer.fold()
    assert np.allclose(other(x).numpy(), adapted, rtol=1e-3, atol=1e-3)


def test_targets_are_running_statistics(trained):
    batches = [batch_of(s) for s in (1, 2, 3)]
    done = []
    found = collect_targets(trained, batches, done.append)
    probe = Probe(trained)
    one, two, three = (probe(b)["attention_1"]["k"].mean for b in batches)
    assert np.allclose(found["attention_1"]["k"].mean, 0.9 * (0.9 * one + 0.1 * two) + 0.1 * three)
    assert done == [1, 2, 3]
    layer = gain_layers(trained)["attention_1"]
    assert layer.watched is None
    first = gain_layers(trained)["attention_0"]
    keys = (batches[0] @ first.wk.kernel + first.wk.bias).numpy().reshape(8, 24, 2, 8)
    scaled = keys * np.reshape(first.spec().scalers.k_a, (2, 1)) + np.reshape(first.spec().scalers.k_b, (2, 1))
    measured = probe(batches[0])["attention_0"]["k"]
    assert np.allclose(measured.mean, scaled.mean(axis=(0, 1, 3)), atol=1e-6)
    assert np.allclose(measured.deviation, scaled.std(axis=(0, 1, 3)), atol=1e-6)


def test_adaptation_refuses_and_gives_up():
    model, x = network(LINEAR, 7, layers=1), batch_of(1)
    probe = Probe(model)
    targets = probe(x)
    with pytest.raises(InputError, match="No batch"):
        collect_targets(model, [])
    with pytest.raises(InputError, match="empty"):
        probe(x[:0])
    with pytest.raises(InputError, match="NaN"):
        probe(x * np.nan)
    with pytest.raises(UnsupportedError, match="needs gain-cell"):
        Probe(keras.Sequential([keras.layers.Dense(2)]))
    with pytest.raises(UnsupportedError, match="Targets of layers"):
        adapt_scalers(model, targets | {"attention_1": targets["attention_0"]}, x)
    with pytest.raises(InputError, match="must be positive"):
        adapt_scalers(model, targets, x, iterations=0)
    far = {n: {s: t._replace(mean=t.mean + 1e3) for s, t in by.items()} for n, by in targets.items()}
    result = adapt_scalers(model, far, x, iterations=2)
    assert not result.converged
    assert len(result.curve) == 2
