// SPDX-License-Identifier: Apache-2.0
//
// ConSmax by one direct table a head: softmax without maximum and without sum.
//
//      x[h][i][j] --> (code - code_min) --> table[h][entries] --> j > i ? 0 : p --> tail --> y[h][i][j]
//                                           on the common grid     (causal)
//
// Formula:  p = round( exp(score_scale_h * x - beta_h) / gamma_h * 2^out_frac ), limited; tabulated over every code.
// A masked entry is 0 and nothing is renormalised: elements are independent, one row every reuse_factor cycles.
// Source: ConSmax, arXiv 2402.10930v3, equation 2.

#ifndef HLS4ATTN_CONSMAX_H_
#define HLS4ATTN_CONSMAX_H_

#include "attn_tail.h"

namespace hls4attn {

struct score_config : tail_config {
    static const int heads = 1;
    static const int rows = 1;
    static const int cols = 1;
    static const bool causal = false;
    static const int in_width = 8;
    static const int in_frac = 0;
    static const bool in_signed = true;
};

struct consmax_config : score_config {
    static const int table_banks = 1; // memories the table is spread over
    static const int code_min = -128; // code of table entry 0
    static const int entries = 256;   // of one head
};

template <class data_T, class res_T, typename CONFIG_T, class table_T, int ENTRIES, class scale_T, int SCALES,
          class offset_T, int OFFSETS>
void consmax(const data_T data[CONFIG_T::heads * CONFIG_T::rows * CONFIG_T::cols],
             res_T res[CONFIG_T::heads * CONFIG_T::rows * CONFIG_T::cols], const table_T (&table)[ENTRIES],
             const scale_T (&scale)[SCALES], const offset_T (&offset)[OFFSETS]) {
    static_assert(same_format<data_T, CONFIG_T::in_width, CONFIG_T::in_frac, CONFIG_T::in_signed>::value,
                  "consmax: the score type is not the one the table was made for");
    static_assert(ENTRIES == CONFIG_T::heads * CONFIG_T::entries, "consmax: one table a head");
    static_assert(CONFIG_T::entries == (1 << (CONFIG_T::in_width - 1)) - CONFIG_T::code_min,
                  "consmax: one table entry a code, from code_min to the largest");
    static_assert(!CONFIG_T::causal || CONFIG_T::rows == CONFIG_T::cols, "consmax: a causal mask is square");
    #pragma HLS ARRAY_PARTITION variable=table cyclic factor=CONFIG_T::table_banks
    typedef tail_sizes<CONFIG_T::heads * CONFIG_T::rows * CONFIG_T::cols, CONFIG_T::cols> elements;
    #pragma HLS ARRAY_PARTITION variable=scale cyclic factor=CONFIG_T::scale_banks
    #pragma HLS ARRAY_PARTITION variable=offset cyclic factor=CONFIG_T::offset_banks
    for (int h = 0; h < CONFIG_T::heads; h++) {
        for (int i = 0; i < CONFIG_T::rows; i++) {
            #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
            for (int j = 0; j < CONFIG_T::cols; j++) {
                #pragma HLS UNROLL
                const int element = (h * CONFIG_T::rows + i) * CONFIG_T::cols + j;
                const int code = raw(data[element]);
                typename integer<CONFIG_T::core_width>::type p =
                    entry<CONFIG_T::core_width>(table[h * CONFIG_T::entries + code - CONFIG_T::code_min]);
                if (CONFIG_T::causal && j > i) {
                    p = 0;
                }
                res[element] = finish<res_T, CONFIG_T, elements>(p, element, j, scale, offset);
            }
        }
    }
}

} // namespace hls4attn

#endif
