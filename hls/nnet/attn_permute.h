// SPDX-License-Identifier: Apache-2.0
//
// Transpose of up to four axes, with the reshapes around it (which move nothing).
//
//      x[a*s0 + b*s1 + c*s2 + d*s3]  ------------------>  tail  -->  y[a][b][c][d]
//
// Formula:  y[a][b][c][d] = tail( x at the strides of the permutation ),  a < n0, b < n1, c < n2, d < n3
// A transpose next to a matrix product is folded into that kernel's strides instead and needs no code at all.
// Source: index arithmetic.

#ifndef HLS4ATTN_PERMUTE_H_
#define HLS4ATTN_PERMUTE_H_

#include "attn_tail.h"

namespace hls4attn {

struct permute_config : tail_config {
    static const int n0 = 1, n1 = 1, n2 = 1, n3 = 1; // output shape, padded by ones in front
    static const int s0 = 0, s1 = 0, s2 = 0, s3 = 0; // input strides in elements
    static const int in_width = 8;
    static const int in_frac = 0;
    static const bool in_signed = true;
    static const int in_rows = 1, in_channels = 1; // streaming: rows of both sides
    static const int out_rows = 1, out_channels = 1;
    static const int latency = 1;
};

template <class data_T, class res_T, typename CONFIG_T, class scale_T, int SCALES, class offset_T, int OFFSETS>
void permute(const data_T data[CONFIG_T::n0 * CONFIG_T::n1 * CONFIG_T::n2 * CONFIG_T::n3],
             res_T res[CONFIG_T::n0 * CONFIG_T::n1 * CONFIG_T::n2 * CONFIG_T::n3],
             const scale_T (&scale)[SCALES], const offset_T (&offset)[OFFSETS]) {
    static_assert(same_format<data_T, CONFIG_T::in_width, CONFIG_T::in_frac, CONFIG_T::in_signed>::value,
                  "permute: the input type is not the one the model has");
    typedef tail_sizes<CONFIG_T::n0 * CONFIG_T::n1 * CONFIG_T::n2 * CONFIG_T::n3, CONFIG_T::n3> elements;
    #pragma HLS ARRAY_PARTITION variable=scale cyclic factor=CONFIG_T::scale_banks
    #pragma HLS ARRAY_PARTITION variable=offset cyclic factor=CONFIG_T::offset_banks
    for (int a = 0; a < CONFIG_T::n0; a++) {
        for (int b = 0; b < CONFIG_T::n1; b++) {
            for (int c = 0; c < CONFIG_T::n2; c++) {
                #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
                for (int d = 0; d < CONFIG_T::n3; d++) {
                    #pragma HLS UNROLL
                    const int element = ((a * CONFIG_T::n1 + b) * CONFIG_T::n2 + c) * CONFIG_T::n3 + d;
                    const int from = a * CONFIG_T::s0 + b * CONFIG_T::s1 + c * CONFIG_T::s2 + d * CONFIG_T::s3;
                    res[element] = finish<res_T, CONFIG_T, elements>(raw(data[from]), element, d, scale, offset);
                }
            }
        }
    }
}

} // namespace hls4attn

#endif
