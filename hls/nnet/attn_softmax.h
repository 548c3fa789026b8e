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
    static const int entries = 1 << CONFIG_T::in_width;
    static const int exp_width = CONFIG_T::exp_frac + 2;                            // signed, 2^exp_frac included
    static const int sum_bits = exp_width + bit_length(CONFIG_T::cols);             // signed
    static const int ratio = CONFIG_T::exp_frac + CONFIG_T::out_frac + CONFIG_T::guard; // R
    static const int ratio_width = CONFIG_T::out_frac + CONFIG_T::guard + 3;        // of r, signed
    static const int down = CONFIG_T::exp_frac + CONFIG_T::guard;                   // R - out_frac
    static const int product_width = exp_width + ratio_width;
    static const int dividend_width = (ratio + 2 > sum_bits ? ratio + 2 : sum_bits) + 1;
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
            typename integer<exp_width>::type e[CONFIG_T::cols];
            #pragma HLS ARRAY_PARTITION variable=e complete
            typename integer<sum_bits>::type sum = 0;
            for (int j = 0; j < CONFIG_T::cols; j++) {
                #pragma HLS UNROLL
                const int below = top - int(raw(data[first + j]));
                e[j] = entry<exp_width>(table[h * entries + (below < 0 ? 0 : below)]); // < 0: masked
                if (CONFIG_T::causal && j > i) {
                    e[j] = 0;
                }
                sum += e[j];
            }
            typename integer<dividend_width>::type dividend = sum >> 1;
            dividend += typename integer<dividend_width>::type(1) << ratio;
            const typename integer<ratio_width>::type r = typename integer<ratio_width>::type(dividend / sum);
            for (int j = 0; j < CONFIG_T::cols; j++) {
                #pragma HLS UNROLL
                typename integer<product_width>::type p = multiply<product_width>(e[j], r);
                p += typename integer<product_width>::type(1) << (down - 1);
                p >>= down;
                if (p > CONFIG_T::code_limit) {
                    p = CONFIG_T::code_limit;
                }
                const typename integer<CONFIG_T::core_width>::type probability =
                    typename integer<CONFIG_T::core_width>::type(p);
                res[first + j] = finish<res_T, CONFIG_T, elements>(probability, first + j, j, scale, offset);
            }
        }
    }
}

} // namespace hls4attn

#endif
