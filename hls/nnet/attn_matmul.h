// SPDX-License-Identifier: Apache-2.0
//
// Product of two computed matrices, one pair a head: scores Q K^T and the weighted sum P V.
//
//      a[h][m][0..K) ------------------> ( x ) --( + )--> acc[n] --> tail --> y[h][m][n]
//                                          ^    over k   core_width
//      b[h][0..K)[0..N) --> tile[K][N] ----+
//
// Formula:  y[h][m][n] = tail( sum_k a[h][m][k] * b[h][k][n] )
// Every operand is addressed by strides, so a transpose before it (split heads, K^T) or after it (merge heads) costs
// nothing.  The right operand of a head is loaded once (K cycles), then one row enters every reuse_factor cycles.
// Source: scaled dot-product attention, arXiv 1706.03762, equation 1; the scale belongs to the score function.

#ifndef HLS4ATTN_MATMUL_H_
#define HLS4ATTN_MATMUL_H_

#include "attn_tail.h"

namespace hls4attn {

struct matmul_config : tail_config {
    static const int heads = 1;
    static const int rows = 1;
    static const int inner = 1;
    static const int cols = 1;
    static const int a_head = 1, a_row = 1, a_inner = 1; // strides in elements
    static const int b_head = 1, b_inner = 1, b_col = 1;
    static const int y_head = 1, y_row = 1, y_col = 1;
    static const int in_width = 8;                       // format of a
    static const int in_frac = 0;
    static const bool in_signed = true;
    static const int in2_width = 8;                      // format of b
    static const int in2_frac = 0;
    static const bool in2_signed = true;
    static const int multiplier_limit = 1;
};

template <class a_T, class b_T, class res_T, typename CONFIG_T, class scale_T, int SCALES, class offset_T,
          int OFFSETS>
void matmul(const a_T a[CONFIG_T::heads * CONFIG_T::rows * CONFIG_T::inner],
            const b_T b[CONFIG_T::heads * CONFIG_T::inner * CONFIG_T::cols],
            res_T res[CONFIG_T::heads * CONFIG_T::rows * CONFIG_T::cols],
            const scale_T (&scale)[SCALES], const offset_T (&offset)[OFFSETS]) {
    static_assert(same_format<a_T, CONFIG_T::in_width, CONFIG_T::in_frac, CONFIG_T::in_signed>::value,
                  "matmul: the left operand's type is not the one the model has");
    static_assert(same_format<b_T, CONFIG_T::in2_width, CONFIG_T::in2_frac, CONFIG_T::in2_signed>::value,
                  "matmul: the right operand's type is not the one the model has");
    typedef tail_sizes<CONFIG_T::heads * CONFIG_T::rows * CONFIG_T::cols, CONFIG_T::cols> elements;
    #pragma HLS ARRAY_PARTITION variable=scale cyclic factor=CONFIG_T::scale_banks
    #pragma HLS ARRAY_PARTITION variable=offset cyclic factor=CONFIG_T::offset_banks
    for (int h = 0; h < CONFIG_T::heads; h++) {
        typename integer<format_of<b_T>::carrier>::type tile[CONFIG_T::inner][CONFIG_T::cols];
        #pragma HLS ARRAY_PARTITION variable=tile complete dim=0
        for (int k = 0; k < CONFIG_T::inner; k++) {
            #pragma HLS PIPELINE
            for (int n = 0; n < CONFIG_T::cols; n++) {
                #pragma HLS UNROLL
                tile[k][n] = raw(b[h * CONFIG_T::b_head + k * CONFIG_T::b_inner + n * CONFIG_T::b_col]);
            }
        }
        for (int m = 0; m < CONFIG_T::rows; m++) {
            #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
            #pragma HLS ALLOCATION operation instances=mul limit=CONFIG_T::multiplier_limit
            typename integer<CONFIG_T::core_width>::type acc[CONFIG_T::cols];
            #pragma HLS ARRAY_PARTITION variable=acc complete
            for (int n = 0; n < CONFIG_T::cols; n++) {
                #pragma HLS UNROLL
                acc[n] = 0;
            }
            for (int k = 0; k < CONFIG_T::inner; k++) {
                #pragma HLS UNROLL
                const typename integer<format_of<a_T>::carrier>::type x =
                    raw(a[h * CONFIG_T::a_head + m * CONFIG_T::a_row + k * CONFIG_T::a_inner]);
                for (int n = 0; n < CONFIG_T::cols; n++) {
                    #pragma HLS UNROLL
                    acc[n] += multiply<CONFIG_T::core_width>(x, tile[k][n]);
                }
            }
            for (int n = 0; n < CONFIG_T::cols; n++) {
                #pragma HLS UNROLL
                const int element = (h * CONFIG_T::rows + m) * CONFIG_T::cols + n;
                res[h * CONFIG_T::y_head + m * CONFIG_T::y_row + n * CONFIG_T::y_col] =
                    finish<res_T, CONFIG_T, elements>(acc[n], element, n, scale, offset);
            }
        }
    }
}

} // namespace hls4attn

#endif
