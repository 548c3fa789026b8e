// SPDX-License-Identifier: Apache-2.0
//
// Dense layer on every row: rank 1 (one row) or rank 2 (a sequence).
//
//      x[r][0] --> ( x w[0][o] ) --+
//      x[r][1] --> ( x w[1][o] ) --+--( + )--> acc[o] --> tail --> y[r][o]      o = 0 .. n_out-1
//        ...             ...     --+          core_width
//
// Formula:  y[r][o] = tail( sum_i x[r][i] * w[i][o] )
// The accumulator is exact: core_min/core_max bound every partial sum in any order, for the actual weights.
// One row enters every reuse_factor cycles, on n_in * n_out / reuse_factor multipliers.
// Source: matrix multiplication; a folded transpose of the input is a pair of strides.

#ifndef HLS4ATTN_DENSE_H_
#define HLS4ATTN_DENSE_H_

#include "attn_tail.h"

namespace hls4attn {

struct dense_config : tail_config {
    static const int rows = 1;
    static const int n_in = 1;
    static const int n_out = 1;
    static const int row_stride = 1;   // of x, in elements
    static const int in_stride = 1;
    static const int in_width = 8;     // format of x
    static const int in_frac = 0;
    static const bool in_signed = true;
    static const int weight_width = 8; // signed bits of a weight code
    static const int multiplier_limit = 1;
    static const int in_block = 1;     // streaming: weights of a cycle
    static const int out_block = 1;
    static const int latency = 1;
};

// One term of a sum.
template <typename CONFIG_T, class x_T, class weight_T>
inline typename integer<CONFIG_T::core_width>::type dense_term(x_T x, weight_T weight) {
    #pragma HLS INLINE
    return multiply<CONFIG_T::core_width>(x, entry<CONFIG_T::weight_width>(weight));
}

template <class data_T, class res_T, typename CONFIG_T, class weight_T, int WEIGHTS, class scale_T, int SCALES,
          class offset_T, int OFFSETS>
void dense(const data_T data[CONFIG_T::rows * CONFIG_T::n_in], res_T res[CONFIG_T::rows * CONFIG_T::n_out],
           const weight_T (&weights)[WEIGHTS], const scale_T (&scale)[SCALES], const offset_T (&offset)[OFFSETS]) {
    static_assert(same_format<data_T, CONFIG_T::in_width, CONFIG_T::in_frac, CONFIG_T::in_signed>::value,
                  "dense: the input type is not the one the model has");
    static_assert(WEIGHTS == CONFIG_T::n_in * CONFIG_T::n_out, "dense: n_in * n_out weights");
    typedef tail_sizes<CONFIG_T::rows * CONFIG_T::n_out, CONFIG_T::n_out> elements;
    #pragma HLS ARRAY_PARTITION variable=scale cyclic factor=CONFIG_T::scale_banks
    #pragma HLS ARRAY_PARTITION variable=offset cyclic factor=CONFIG_T::offset_banks
    #pragma HLS ARRAY_RESHAPE variable=weights block factor=CONFIG_T::multiplier_limit
    for (int r = 0; r < CONFIG_T::rows; r++) {
        #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
        #pragma HLS ALLOCATION operation instances=mul limit=CONFIG_T::multiplier_limit
        typename integer<CONFIG_T::core_width>::type acc[CONFIG_T::n_out];
        #pragma HLS ARRAY_PARTITION variable=acc complete
        for (int o = 0; o < CONFIG_T::n_out; o++) {
            #pragma HLS UNROLL
            acc[o] = 0;
        }
        for (int i = 0; i < CONFIG_T::n_in; i++) {
            #pragma HLS UNROLL
            const typename integer<format_of<data_T>::carrier>::type x =
                raw(data[r * CONFIG_T::row_stride + i * CONFIG_T::in_stride]);
            for (int o = 0; o < CONFIG_T::n_out; o++) {
                #pragma HLS UNROLL
                acc[o] += dense_term<CONFIG_T>(x, weights[i * CONFIG_T::n_out + o]);
            }
        }
        for (int o = 0; o < CONFIG_T::n_out; o++) {
            #pragma HLS UNROLL
            res[r * CONFIG_T::n_out + o] =
                finish<res_T, CONFIG_T, elements>(acc[o], r * CONFIG_T::n_out + o, o, scale, offset);
        }
    }
}

} // namespace hls4attn

#endif
