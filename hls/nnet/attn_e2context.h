// SPDX-License-Identifier: Apache-2.0
//
// The shift form of E2Softmax: scores and values to the context; no multiplier in the sum, no rounded probabilities.
//
//      x[h][m][:] --> stage 1 --+-- k_j ------v
//                               |    v[j][n] (<<) numerator_frac - k_j --> ( + ) over j --> A[n] --( x )-- C[q]
//                               |                                                                    |
//                               +-- S --> ks, q --------------------------> half even >> ks + out_shift
//                                                                                                    |
//                                                                y[h][m][n] <-- tail <-- limited <---+
//
// Formula:  A_n = sum_j v_jn << (numerator_frac - k_j);   y_n = Q_out( A_n * C[q] * 2^-(ks + out_shift) )
// Every partial sum is exact.  C[q] multiplies once a result; its few constants are cheap in logic as well.
// Two passes (e2context): a row enters every reuse_factor cycles.  Online (e2context_online): a slice does, in each
// of two stages.  All operands are addressed by strides, as in a matrix product.
// Source: SOLE, arXiv 2510.17189, equations 7 to 13; shifting V instead of multiplying it is this package's form.

#ifndef HLS4ATTN_E2CONTEXT_H_
#define HLS4ATTN_E2CONTEXT_H_

#include "attn_e2stages.h"
#include "attn_matmul.h"

namespace hls4attn {

// `inner` is the length of a score row, `cols` the width of a head.
struct e2context_config : matmul_config, e2_config {
    static const bool causal = false;
    static const int out_shift = 15; // from A * C[q] to output codes where ks is 0
};

template <typename CONFIG_T> struct e2context_sizes {
    static const int value = CONFIG_T::in2_width + !CONFIG_T::in2_signed;
    static const int sum = CONFIG_T::numerator_frac + value + bit_length(CONFIG_T::inner);
    static const int max_places = CONFIG_T::out_shift + e2_row<CONFIG_T, CONFIG_T::inner>::max_ks;
    static const int scaled = larger(sum + CONFIG_T::divider_frac, max_places) + 2; // with room to round
    typedef typename integer<value>::type value_t;
    typedef typename integer<sum>::type sum_t;
};

// value * 2^-k with numerator_frac fraction bits.
template <typename CONFIG_T>
inline typename e2context_sizes<CONFIG_T>::sum_t shifted(typename e2context_sizes<CONFIG_T>::value_t value, int k) {
    #pragma HLS INLINE
    if (k > CONFIG_T::numerator_frac) {
        return 0;
    }
    return shift_left<e2context_sizes<CONFIG_T>::sum>(value, CONFIG_T::numerator_frac - k);
}

// The row's divider applied to one sum, rounded half to even and limited.
template <typename CONFIG_T>
inline typename integer<CONFIG_T::core_width>::type divide_sum(typename e2context_sizes<CONFIG_T>::sum_t sum, int ks,
                                                               int mantissa) {
    #pragma HLS INLINE
    static const int width = e2context_sizes<CONFIG_T>::scaled;
    const int places = ks + CONFIG_T::out_shift;
    const typename integer<width>::type scaled = multiply<width>(sum, entry<CONFIG_T::divider_frac + 1>(mantissa));
    const typename integer<width>::type odd = shift_down<width>(scaled, places) & 1;
    typename integer<width>::type rounded = scaled;
    rounded += shift_left<width>(1, places - 1);
    rounded += odd;
    rounded -= 1;
    return limit_core<CONFIG_T>(shift_down<width>(rounded, places));
}

template <typename CONFIG_T, class x_T, class v_T, int FACTORS, int PLACES, int MANTISSAS> struct e2context_legal {
    static_assert(same_format<x_T, CONFIG_T::in_width, CONFIG_T::in_frac, CONFIG_T::in_signed>::value,
                  "e2context: the score type is not the one the model has");
    static_assert(same_format<v_T, CONFIG_T::in2_width, CONFIG_T::in2_frac, CONFIG_T::in2_signed>::value,
                  "e2context: the values' type is not the one the model has");
    static_assert(FACTORS == CONFIG_T::heads && PLACES == CONFIG_T::heads, "e2context: one factor and shift a head");
    static_assert(MANTISSAS == 1 << CONFIG_T::mux_bits, "e2context: one mantissa for each value of q");
    static_assert(CONFIG_T::out_shift >= 1 && e2context_sizes<CONFIG_T>::scaled <= 62, "e2context: sums of 62 bits");
    static_assert(!CONFIG_T::causal || CONFIG_T::rows == CONFIG_T::inner, "e2context: a causal mask is square");
    static const bool value = e2_legal<CONFIG_T>::value;
};

// The values of one head, as every row of scores reads them.
template <typename CONFIG_T, class v_T>
inline void load_tile(const v_T v[], int h,
                      typename e2context_sizes<CONFIG_T>::value_t tile[CONFIG_T::inner][CONFIG_T::cols]) {
    #pragma HLS INLINE
    for (int j = 0; j < CONFIG_T::inner; j++) {
        #pragma HLS PIPELINE
        for (int n = 0; n < CONFIG_T::cols; n++) {
            #pragma HLS UNROLL
            tile[j][n] = raw(v[h * CONFIG_T::b_head + j * CONFIG_T::b_inner + n * CONFIG_T::b_col]);
        }
    }
}

template <class x_T, class v_T, class res_T, typename CONFIG_T, class factor_T, int FACTORS, class places_T,
          int PLACES, class mantissa_T, int MANTISSAS, class scale_T, int SCALES, class offset_T, int OFFSETS>
void e2context(const x_T x[CONFIG_T::heads * CONFIG_T::rows * CONFIG_T::inner],
               const v_T v[CONFIG_T::heads * CONFIG_T::inner * CONFIG_T::cols],
               res_T res[CONFIG_T::heads * CONFIG_T::rows * CONFIG_T::cols], const factor_T (&factor)[FACTORS],
               const places_T (&places)[PLACES], const mantissa_T (&divider)[MANTISSAS],
               const scale_T (&scale)[SCALES], const offset_T (&offset)[OFFSETS]) {
    static_assert(e2context_legal<CONFIG_T, x_T, v_T, FACTORS, PLACES, MANTISSAS>::value, "e2context: see above");
    static_assert(CONFIG_T::slice_length == 0, "e2context: slices take e2context_online");
    #pragma HLS ARRAY_PARTITION variable=divider complete
    typedef tail_sizes<CONFIG_T::heads * CONFIG_T::rows * CONFIG_T::cols, CONFIG_T::cols> elements;
    #pragma HLS ARRAY_PARTITION variable=scale cyclic factor=CONFIG_T::scale_banks
    #pragma HLS ARRAY_PARTITION variable=offset cyclic factor=CONFIG_T::offset_banks
    for (int h = 0; h < CONFIG_T::heads; h++) {
        typename e2context_sizes<CONFIG_T>::value_t tile[CONFIG_T::inner][CONFIG_T::cols];
        #pragma HLS ARRAY_PARTITION variable=tile complete dim=0
        load_tile<CONFIG_T>(v, h, tile);
        for (int m = 0; m < CONFIG_T::rows; m++) {
            #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
            typename e2_sizes<CONFIG_T>::exponent_t k[CONFIG_T::inner];
            #pragma HLS ARRAY_PARTITION variable=k complete
            typename e2_sizes<CONFIG_T>::distance_t top = -(1 << (CONFIG_T::in_width - 1));
            typename e2_row<CONFIG_T, CONFIG_T::inner>::sum_t sum = 0;
            e2_slice<CONFIG_T, CONFIG_T::inner, CONFIG_T::inner, CONFIG_T::a_inner>(
                x, h * CONFIG_T::a_head + m * CONFIG_T::a_row, 0, m, factor[h], places[h], top, sum, k);
            int ks, q;
            leading_one<CONFIG_T, CONFIG_T::inner>(sum, ks, q);
            for (int n = 0; n < CONFIG_T::cols; n++) {
                #pragma HLS UNROLL
                typename e2context_sizes<CONFIG_T>::sum_t acc = 0;
                for (int j = 0; j < CONFIG_T::inner; j++) {
                    #pragma HLS UNROLL
                    if (seen_by<CONFIG_T>(m, j)) {
                        acc += shifted<CONFIG_T>(tile[j][n], k[j]);
                    }
                }
                const int element = (h * CONFIG_T::rows + m) * CONFIG_T::cols + n;
                res[h * CONFIG_T::y_head + m * CONFIG_T::y_row + n * CONFIG_T::y_col] =
                    finish<res_T, CONFIG_T, elements>(divide_sum<CONFIG_T>(acc, ks, divider[q]), element, n, scale,
                                                      offset);
            }
        }
    }
}

template <class x_T, class v_T, class res_T, typename CONFIG_T, class factor_T, int FACTORS, class places_T,
          int PLACES, class mantissa_T, int MANTISSAS, class scale_T, int SCALES, class offset_T, int OFFSETS>
void e2context_online(const x_T x[CONFIG_T::heads * CONFIG_T::rows * CONFIG_T::inner],
                      const v_T v[CONFIG_T::heads * CONFIG_T::inner * CONFIG_T::cols],
                      res_T res[CONFIG_T::heads * CONFIG_T::rows * CONFIG_T::cols],
                      const factor_T (&factor)[FACTORS], const places_T (&places)[PLACES],
                      const mantissa_T (&divider)[MANTISSAS],
                      const scale_T (&scale)[SCALES], const offset_T (&offset)[OFFSETS]) {
    static_assert(e2context_legal<CONFIG_T, x_T, v_T, FACTORS, PLACES, MANTISSAS>::value, "e2context: see above");
    static_assert(CONFIG_T::slice_length >= 1 && CONFIG_T::slice_length <= CONFIG_T::inner,
                  "e2context_online: a slice is not longer than the row");
    #pragma HLS ARRAY_PARTITION variable=divider complete
    typedef tail_sizes<CONFIG_T::heads * CONFIG_T::rows * CONFIG_T::cols, CONFIG_T::cols> elements;
    #pragma HLS ARRAY_PARTITION variable=scale cyclic factor=CONFIG_T::scale_banks
    #pragma HLS ARRAY_PARTITION variable=offset cyclic factor=CONFIG_T::offset_banks
    static const int lanes = CONFIG_T::slice_length;
    static const int slices = (CONFIG_T::inner + lanes - 1) / lanes; // the last one may be short
    typedef typename e2_sizes<CONFIG_T>::distance_t distance_t;
    for (int h = 0; h < CONFIG_T::heads; h++) {
        typename e2context_sizes<CONFIG_T>::value_t tile[CONFIG_T::inner][CONFIG_T::cols];
        #pragma HLS ARRAY_PARTITION variable=tile cyclic factor=CONFIG_T::slice_length dim=1
        #pragma HLS ARRAY_PARTITION variable=tile complete dim=2
        load_tile<CONFIG_T>(v, h, tile);
        for (int m = 0; m < CONFIG_T::rows; m++) {
            typename e2_sizes<CONFIG_T>::exponent_t k[slices][lanes];
            #pragma HLS ARRAY_PARTITION variable=k complete dim=2
            distance_t tops[slices];
            distance_t top = -(1 << (CONFIG_T::in_width - 1));
            typename e2_row<CONFIG_T, CONFIG_T::inner>::sum_t sum = 0;
            for (int s = 0; s < slices; s++) {
                #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
                e2_slice<CONFIG_T, CONFIG_T::inner, lanes, CONFIG_T::a_inner>(
                    x, h * CONFIG_T::a_head + m * CONFIG_T::a_row, s * lanes, m, factor[h], places[h], top, sum,
                    k[s]);
                tops[s] = top;
            }
            int ks, q;
            leading_one<CONFIG_T, CONFIG_T::inner>(sum, ks, q);
            typename e2context_sizes<CONFIG_T>::sum_t acc[CONFIG_T::cols];
            #pragma HLS ARRAY_PARTITION variable=acc complete
            for (int n = 0; n < CONFIG_T::cols; n++) {
                #pragma HLS UNROLL
                acc[n] = 0;
            }
            for (int s = 0; s < slices; s++) {
                #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
                const int fall = log2exp<CONFIG_T>(distance_t(top - tops[s]), factor[h], places[h]);
                for (int lane = 0; lane < lanes; lane++) {
                    #pragma HLS UNROLL
                    const int j = s * lanes + lane;
                    const int exponent = corrected<CONFIG_T>(k[s][lane], fall);
                    for (int n = 0; n < CONFIG_T::cols; n++) {
                        #pragma HLS UNROLL
                        if (j < CONFIG_T::inner && seen_by<CONFIG_T>(m, j)) {
                            acc[n] += shifted<CONFIG_T>(tile[j][n], exponent);
                        }
                    }
                }
            }
            for (int n = 0; n < CONFIG_T::cols; n++) {
                #pragma HLS UNROLL
                const int element = (h * CONFIG_T::rows + m) * CONFIG_T::cols + n;
                res[h * CONFIG_T::y_head + m * CONFIG_T::y_row + n * CONFIG_T::y_col] =
                    finish<res_T, CONFIG_T, elements>(divide_sum<CONFIG_T>(acc[n], ks, divider[q]), element, n,
                                                      scale, offset);
            }
        }
    }
}

} // namespace hls4attn

#endif
