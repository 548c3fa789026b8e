# SPDX-License-Identifier: Apache-2.0
"""Number formats of the quantised character GPTs."""

#: Of one-hot text.
BIT = "ufixed<1,0>"
KERNEL = "quantized_bits(8,0,alpha=1)"
BIAS = "quantized_bits(8,1,alpha=1)"
#: Of what enters and leaves the large layers.
STREAM = "fixed<8,4>"
#: Of sums that enter a normalisation, and of the embedded text.
RESIDUAL = "fixed<12,7>"
TABLE = "fixed<8,6>"
HIDDEN = "ufixed<8,5>"
LOGITS = "fixed<8,3>"
