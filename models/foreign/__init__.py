# SPDX-License-Identifier: Apache-2.0
"""ONNX files exported elsewhere, brought to the dialect that the reader takes.

How a file goes through, module by module:

* `loading` makes it ready (names, functions, batch, `layernorm`: written-out norms); `original` runs it as it came.
* `importer` walks through the nodes. A tensor is one of `values`: a constant, or a factor times an expression seen
  through an index array (`views`). `context` is what all handlers share; `choices` what was asked for and is told.
* Handlers by operator: `moving` (Reshape, Transpose, Split ...), `arithmetic` (Add, Mul, means), `products` (MatMul,
  Gemm), `einsum`, `coding` (quantiser nodes; `quantisers` has their arithmetic), `softmax`, `masks`, `normalisation`;
  `constants` computes what does not depend on the input; `nearest` refuses the rest.
* `exprs` is the integer model being built; `emit` writes it.
* `translation` compares every node with the file in real arithmetic, `distance` the written integers.
"""

from hls4attn.models.foreign.choices import Change, Distance, ImportChoices, Imported
from hls4attn.models.foreign.importer import import_model

__all__ = ["Change", "Distance", "ImportChoices", "Imported", "import_model"]
