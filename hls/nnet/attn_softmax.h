// SPDX-License-Identifier: Apache-2.0
//
// Integer softmax: the exact baseline, with its maximum, its sum and one division a row.
//
//      x[h][i][:] --+--> max over j --> m --+
//                   |                       v
//                   +------------------> m - x_j --> table[h] --> e_j --+--> sum S --> (2^R + S/2) div S --> r
//                                                  j > i ? 0 (causal)   |                                    |
//                                                                       +--> ( x ) <-------------------------+
//                                                                              |
//                              y <-- tail <-- min(., code_limit) <-- half up >> (R - out_frac)
//
// Formula:  e_j = T[m - x_j],  S = sum_j e_j,  r = (2^R + floor(S/2)) div S,
//           p_j = min( code_limit, (e_j * r + 2^(R-out_frac-1)) >> (R - out_frac) ),  R = exp_frac + out_frac + guard
// e_j <= 2^exp_frac <= S because the maximum itself contributes 2^exp_frac, so r <= 2^(out_frac + guard) + 1.
// Source: softmax with the maximum subtracted, in integers; the table holds round(2^exp_frac * exp(-scale * d)).

#ifndef HLS4ATTN_SOFTMAX_H_
#define HLS4ATTN_SOFTMAX_H_

#include "attn_consmax.h"

namespace hls4attn {

struct softmax_config : score_config {
    static const int table_banks = 1; // memories the table is spread over
    static const int exp_frac = 15;
    static const int out_frac = 8;
    static const int guard = 3;
    static const int max_length = 1024;
    static const int code_limit = 255;
};

template <typename CONFIG_T> struct softmax_sizes {
    static const int entries = 1 << CONFIG_T::in_width;
    static const int exp = CONFIG_T::exp_frac + 2;                                      // signed, 2^exp_frac included
    static const int sum = exp + bit_length(CONFIG_T::cols);                            // signed
    static const int ratio_frac = CONFIG_T::exp_frac + CONFIG_T::out_frac + CONFIG_T::guard; // R
    static const int ratio = CONFIG_T::out_frac + CONFIG_T::guard + 3;                  // of r, signed
    static const int down = CONFIG_T::exp_frac + CONFIG_T::guard;                       // R - out_frac
    static const int product = exp + ratio;
    static const int dividend = larger(ratio_frac + 2, sum) + 1;
    typedef typename integer<exp>::type exp_t;
    typedef typename integer<sum>::type sum_t;
    typedef typename integer<ratio>::type ratio_t;
};

// r of a row sum.
template <typename CONFIG_T>
inline typename softmax_sizes<CONFIG_T>::ratio_t reciprocal(typename softmax_sizes<CONFIG_T>::sum_t sum) {
    #pragma HLS INLINE
    typedef softmax_sizes<CONFIG_T> sizes;
    typename integer<sizes::dividend>::type dividend = sum >> 1;
    dividend += typename integer<sizes::dividend>::type(1) << sizes::ratio_frac;
    return typename sizes::ratio_t(dividend / sum);
}

// p of an exponential and its row's r.
template <typename CONFIG_T>
inline typename integer<CONFIG_T::core_width>::type probability(typename softmax_sizes<CONFIG_T>::exp_t e,
                                                                typename softmax_sizes<CONFIG_T>::ratio_t r) {
    #pragma HLS INLINE
    typedef softmax_sizes<CONFIG_T> sizes;
    typename integer<sizes::product>::type p = multiply<sizes::product>(e, r);
    p += typename integer<sizes::product>::type(1) << (sizes::down - 1);
    p >>= sizes::down;
    if (p > CONFIG_T::code_limit) {
        p = CONFIG_T::code_limit;
    }
    return typename integer<CONFIG_T::core_width>::type(p);
}

template <class data_T, class res_T, typename CONFIG_T, class table_T, int ENTRIES, class scale_T, int SCALES,
          class offset_T, int OFFSETS>
void softmax(const data_T data[CONFIG_T::heads * CONFIG_T::rows * CONFIG_T::cols],
             res_T res[CONFIG_T::heads * CONFIG_T::rows * CONFIG_T::cols], const table_T (&table)[ENTRIES],
             const scale_T (&scale)[SCALES], const offset_T (&offset)[OFFSETS]) {
    static_assert(same_format<data_T, CONFIG_T::in_width, CONFIG_T::in_frac, CONFIG_T::in_signed>::value,
                  "softmax: the score type is not the one the table was made for");
    static_assert(ENTRIES == CONFIG_T::heads * (1 << CONFIG_T::in_width), "softmax: 2^in_width entries a head");
    static_assert(CONFIG_T::cols <= CONFIG_T::max_length, "softmax: the row is longer than max_length");
    static_assert(!CONFIG_T::causal || CONFIG_T::rows == CONFIG_T::cols, "softmax: a causal mask is square");
    #pragma HLS ARRAY_PARTITION variable=table cyclic factor=CONFIG_T::table_banks
    typedef tail_sizes<CONFIG_T::heads * CONFIG_T::rows * CONFIG_T::cols, CONFIG_T::cols> elements;
    #pragma HLS ARRAY_PARTITION variable=scale cyclic factor=CONFIG_T::scale_banks
    #pragma HLS ARRAY_PARTITION variable=offset cyclic factor=CONFIG_T::offset_banks
    typedef softmax_sizes<CONFIG_T> sizes;
    for (int h = 0; h < CONFIG_T::heads; h++) {
        for (int i = 0; i < CONFIG_T::rows; i++) {
            #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
            const int first = (h * CONFIG_T::rows + i) * CONFIG_T::cols;
            int top = -(1 << (CONFIG_T::in_width - 1));
            for (int j = 0; j < CONFIG_T::cols; j++) {
                #pragma HLS UNROLL
                const int code = raw(data[first + j]);
                if (code > top && !(CONFIG_T::causal && j > i)) {
                    top = code;
                }
            }
            typename sizes::exp_t e[CONFIG_T::cols];
            #pragma HLS ARRAY_PARTITION variable=e complete
            typename sizes::sum_t sum = 0;
            for (int j = 0; j < CONFIG_T::cols; j++) {
                #pragma HLS UNROLL
                const int below = top - int(raw(data[first + j]));
                e[j] = entry<sizes::exp>(table[h * sizes::entries + (below < 0 ? 0 : below)]); // < 0: masked
                if (CONFIG_T::causal && j > i) {
                    e[j] = 0;
                }
                sum += e[j];
            }
            const typename sizes::ratio_t r = reciprocal<CONFIG_T>(sum);
            for (int j = 0; j < CONFIG_T::cols; j++) {
                #pragma HLS UNROLL
                res[first + j] =
                    finish<res_T, CONFIG_T, elements>(probability<CONFIG_T>(e[j], r), first + j, j, scale, offset);
            }
        }
    }
}

} // namespace hls4attn

#endif
