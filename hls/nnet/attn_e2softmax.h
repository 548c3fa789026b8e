// SPDX-License-Identifier: Apache-2.0
//
// E2Softmax: softmax with log2-quantised exponentials; the division is a table look-up and a shift.
//
//      x[h][i][:] --> stage 1 (attn_e2stages.h) --+-- k_j, slice maxima --> ( + ) log2exp(m - m_slice) --+
//                                                 |                                                      v
//                                                 +-- S --> ks, q --> C[q] --------------------------> >> k + ks
//                                                                                                        |
//                                  y <-- tail <-- j > i ? 0 (causal) <-- min(., core_max) <-- half up or floor
//
// Formula:  p_j = min( largest code, ( (C[q] << out_frac) + half ) >> (k_j + ks + divider_frac) )
// Two passes (e2softmax): a row enters every reuse_factor cycles.  Online (e2softmax_online): a slice does, in each of
// the two stages; between them a row waits in code_width bits an element and one maximum a slice.  No multipliers.
// Source: SOLE, arXiv 2510.17189, section III-B, algorithm 1, figure 4; the rounding of outputs is a parameter.

#ifndef HLS4ATTN_E2SOFTMAX_H_
#define HLS4ATTN_E2SOFTMAX_H_

#include "attn_consmax.h"
#include "attn_e2stages.h"

namespace hls4attn {

struct e2softmax_config : score_config, e2_config {
    static const int out_frac = 8;
    static const bool round_half_up = true; // else the bits shifted out are dropped
};

// An output code, limited; beyond `most` places nothing is left, whatever the rounding.
template <typename CONFIG_T>
inline typename integer<CONFIG_T::core_width>::type divide(int k, int ks, int mantissa) {
    #pragma HLS INLINE
    static const int most = CONFIG_T::divider_frac + CONFIG_T::out_frac + 1;
    static const int width = most + 1;
    const int wanted = k + ks + CONFIG_T::divider_frac;
    const int places = wanted < most ? wanted : most;
    typename integer<width>::type p =
        shift_up<width, CONFIG_T::out_frac>(entry<CONFIG_T::divider_frac + 1>(mantissa));
    if (CONFIG_T::round_half_up) {
        p += shift_left<width>(1, places - 1);
    }
    return limit_core<CONFIG_T>(shift_down<width>(p, places));
}

template <typename CONFIG_T, class data_T, int FACTORS, int PLACES, int MANTISSAS> struct e2softmax_legal {
    static_assert(same_format<data_T, CONFIG_T::in_width, CONFIG_T::in_frac, CONFIG_T::in_signed>::value,
                  "e2softmax: the score type is not the one the model has");
    static_assert(FACTORS == CONFIG_T::heads && PLACES == CONFIG_T::heads, "e2softmax: one factor and shift a head");
    static_assert(MANTISSAS == 1 << CONFIG_T::mux_bits, "e2softmax: one mantissa for each value of q");
    static_assert(CONFIG_T::out_frac >= 1 && CONFIG_T::out_frac <= 16, "e2softmax: 1 to 16 output fraction bits");
    static_assert(!CONFIG_T::causal || CONFIG_T::rows == CONFIG_T::cols, "e2softmax: a causal mask is square");
    static const bool value = e2_legal<CONFIG_T>::value;
};

template <class data_T, class res_T, typename CONFIG_T, class factor_T, int FACTORS, class places_T, int PLACES,
          class mantissa_T, int MANTISSAS, class scale_T, int SCALES, class offset_T, int OFFSETS>
void e2softmax(const data_T data[CONFIG_T::heads * CONFIG_T::rows * CONFIG_T::cols],
               res_T res[CONFIG_T::heads * CONFIG_T::rows * CONFIG_T::cols], const factor_T (&factor)[FACTORS],
               const places_T (&places)[PLACES], const mantissa_T (&divider)[MANTISSAS],
               const scale_T (&scale)[SCALES], const offset_T (&offset)[OFFSETS]) {
    static_assert(e2softmax_legal<CONFIG_T, data_T, FACTORS, PLACES, MANTISSAS>::value, "e2softmax: see above");
    static_assert(CONFIG_T::slice_length == 0, "e2softmax: slices take e2softmax_online");
    #pragma HLS ARRAY_PARTITION variable=divider complete
    typedef tail_sizes<CONFIG_T::heads * CONFIG_T::rows * CONFIG_T::cols, CONFIG_T::cols> elements;
    #pragma HLS ARRAY_PARTITION variable=scale cyclic factor=CONFIG_T::scale_banks
    #pragma HLS ARRAY_PARTITION variable=offset cyclic factor=CONFIG_T::offset_banks
    for (int h = 0; h < CONFIG_T::heads; h++) {
        for (int i = 0; i < CONFIG_T::rows; i++) {
            #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
            const int first = (h * CONFIG_T::rows + i) * CONFIG_T::cols;
            typename e2_sizes<CONFIG_T>::exponent_t k[CONFIG_T::cols];
            #pragma HLS ARRAY_PARTITION variable=k complete
            typename e2_sizes<CONFIG_T>::distance_t top = -(1 << (CONFIG_T::in_width - 1));
            typename e2_row<CONFIG_T, CONFIG_T::cols>::sum_t sum = 0;
            e2_slice<CONFIG_T, CONFIG_T::cols, CONFIG_T::cols, 1>(data, first, 0, i, factor[h], places[h], top, sum,
                                                                  k);
            int ks, q;
            leading_one<CONFIG_T, CONFIG_T::cols>(sum, ks, q);
            for (int j = 0; j < CONFIG_T::cols; j++) {
                #pragma HLS UNROLL
                typename integer<CONFIG_T::core_width>::type p = divide<CONFIG_T>(k[j], ks, divider[q]);
                if (!seen_by<CONFIG_T>(i, j)) {
                    p = 0;
                }
                res[first + j] = finish<res_T, CONFIG_T, elements>(p, first + j, j, scale, offset);
            }
        }
    }
}

template <class data_T, class res_T, typename CONFIG_T, class factor_T, int FACTORS, class places_T, int PLACES,
          class mantissa_T, int MANTISSAS, class scale_T, int SCALES, class offset_T, int OFFSETS>
void e2softmax_online(const data_T data[CONFIG_T::heads * CONFIG_T::rows * CONFIG_T::cols],
                      res_T res[CONFIG_T::heads * CONFIG_T::rows * CONFIG_T::cols],
                      const factor_T (&factor)[FACTORS], const places_T (&places)[PLACES],
                      const mantissa_T (&divider)[MANTISSAS],
                      const scale_T (&scale)[SCALES], const offset_T (&offset)[OFFSETS]) {
    static_assert(e2softmax_legal<CONFIG_T, data_T, FACTORS, PLACES, MANTISSAS>::value, "e2softmax: see above");
    static_assert(CONFIG_T::slice_length >= 1 && CONFIG_T::slice_length <= CONFIG_T::cols,
                  "e2softmax_online: a slice is not longer than the row");
    #pragma HLS ARRAY_PARTITION variable=divider complete
    typedef tail_sizes<CONFIG_T::heads * CONFIG_T::rows * CONFIG_T::cols, CONFIG_T::cols> elements;
    #pragma HLS ARRAY_PARTITION variable=scale cyclic factor=CONFIG_T::scale_banks
    #pragma HLS ARRAY_PARTITION variable=offset cyclic factor=CONFIG_T::offset_banks
    static const int lanes = CONFIG_T::slice_length;
    static const int slices = (CONFIG_T::cols + lanes - 1) / lanes; // the last one may be short
    typedef typename e2_sizes<CONFIG_T>::distance_t distance_t;
    for (int h = 0; h < CONFIG_T::heads; h++) {
        for (int i = 0; i < CONFIG_T::rows; i++) {
            const int first = (h * CONFIG_T::rows + i) * CONFIG_T::cols;
            typename e2_sizes<CONFIG_T>::exponent_t k[slices][lanes];
            #pragma HLS ARRAY_PARTITION variable=k complete dim=2
            distance_t tops[slices];
            distance_t top = -(1 << (CONFIG_T::in_width - 1));
            typename e2_row<CONFIG_T, CONFIG_T::cols>::sum_t sum = 0;
            for (int s = 0; s < slices; s++) {
                #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
                e2_slice<CONFIG_T, CONFIG_T::cols, lanes, 1>(data, first, s * lanes, i, factor[h], places[h], top,
                                                             sum, k[s]);
                tops[s] = top;
            }
            int ks, q;
            leading_one<CONFIG_T, CONFIG_T::cols>(sum, ks, q);
            for (int s = 0; s < slices; s++) {
                #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
                const int fall = log2exp<CONFIG_T>(distance_t(top - tops[s]), factor[h], places[h]);
                for (int lane = 0; lane < lanes; lane++) {
                    #pragma HLS UNROLL
                    const int j = s * lanes + lane;
                    if (j < CONFIG_T::cols) {
                        const int exponent = corrected<CONFIG_T>(k[s][lane], fall);
                        typename integer<CONFIG_T::core_width>::type p = divide<CONFIG_T>(exponent, ks, divider[q]);
                        if (!seen_by<CONFIG_T>(i, j)) {
                            p = 0;
                        }
                        res[first + j] = finish<res_T, CONFIG_T, elements>(p, first + j, j, scale, offset);
                    }
                }
            }
        }
    }
}

} // namespace hls4attn

#endif
