# SPDX-License-Identifier: Apache-2.0
"""How good a point's model is: its accuracy, and how far it is from the float model."""

from __future__ import annotations

from typing import Any

import numpy as np

from hls4attn.host.sweep.subject import FloatTwin
from hls4attn.models.errors import SpecError, ToolError
from hls4attn.models.export.execute import Reference, quantise_input
from hls4attn.models.export.graph import Graph
from hls4attn.models.export.keras_stage import KEY_MODEL


def quality(graph: Graph, twin: FloatTwin | None, why: dict[str, str]) -> dict[str, Any]:
    """Accuracy of the integer reference on the whole test set, and its distance to the float model.

    Args:
        graph: the integer model.
        twin: the float model that it was quantised from, if that is known.
        why: receives the reasons for what is None.
    """
    found: dict[str, Any] = {"accuracy": None, "test_samples": None}
    reference = Reference(graph)
    name = graph.metadata.get(KEY_MODEL, "")
    data = _test_set(name, graph, why)
    if data is not None:
        answers = reference.run(quantise_input(graph, data.x_test)).reshape(len(data.x_test), -1)
        found = {"accuracy": float(np.mean(answers.argmax(axis=1) == data.y_test)), "test_samples": len(answers)}
    if twin is None:
        reason = "the model file is quantised already: there is no float model to compare with"
        return found | _absent(("float_accuracy", "float_rms", "float_max", "float_agreement"), reason, why)
    received = graph.output.format.to_real(reference.run(quantise_input(graph, twin.inputs)))
    distance = received.reshape(len(received), -1) - twin.outputs.reshape(len(received), -1)
    classes = [values.reshape(len(values), -1).argmax(axis=1) for values in (received, twin.outputs)]
    found |= {
        "float_accuracy": None if data is None else float(np.mean(classes[1] == data.y_test)),
        "float_rms": float(np.sqrt(np.mean(np.square(distance)))),
        "float_max": float(np.abs(distance).max()),
        "float_agreement": float(np.mean(classes[0] == classes[1])),
    }
    return found


def _test_set(name: str, graph: Graph, why: dict[str, str]) -> Any:
    """The zoo model's data, if the model is one of the zoo; else None, and the reason in `why`."""
    from hls4attn.models.zoo import zoo_model

    if not name:
        why["accuracy"] = "no labelled test set is known for this model; those of the zoo have one"
        return None
    try:
        data = zoo_model(name).load_data()
    except (SpecError, ToolError) as error:
        why["accuracy"] = f"no test set: {error}"
        return None
    if data.x_test.shape[1:] != graph.input.shape:
        why["accuracy"] = f"the test set of {name} has inputs of another shape"
        return None
    return data


def _absent(names: tuple[str, ...], reason: str, why: dict[str, str]) -> dict[str, None]:
    why |= dict.fromkeys(names, reason)
    return dict.fromkeys(names)
