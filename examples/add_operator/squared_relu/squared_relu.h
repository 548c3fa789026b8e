// SPDX-License-Identifier: Apache-2.0
//
// Squared ReLU in place of softmax: element by element, no maximum, no sum, no table.
//
//      x[h][i][j] --> max(.,0) --> ( x^2 ) --> ( * m_h ) --> + half --> >> s_h --> min(., limit) --> j > i ? 0 --> y
//       in_width      in_width-1   2(in_width-1)  product       one rounding       core_width      (causal)
//
// Formula:  p = min( code_limit, ( max(0, x)^2 * m_h + 2^(s_h - 1) ) >> s_h ),  one row every reuse_factor cycles.
// Source: arXiv 2202.10447; the integer formats are the example's.

#ifndef EXAMPLE_SQUARED_RELU_H_
#define EXAMPLE_SQUARED_RELU_H_

#include "attn_consmax.h" // score_config

namespace hls4attn {

struct squared_relu_config : score_config {
    static const int factor_width = 8; // bits of the largest m_h
    static const int max_places = 16;  // the largest s_h
    static const int code_limit = 255;
};

template <class data_T, class res_T, typename CONFIG_T, class factor_T, int FACTORS, class places_T, int PLACES,
          class scale_T, int SCALES, class offset_T, int OFFSETS>
void squared_relu(const data_T data[CONFIG_T::heads * CONFIG_T::rows * CONFIG_T::cols],
                  res_T res[CONFIG_T::heads * CONFIG_T::rows * CONFIG_T::cols], const factor_T (&factor)[FACTORS],
                  const places_T (&places)[PLACES], const scale_T (&scale)[SCALES],
                  const offset_T (&offset)[OFFSETS]) {
    static_assert(same_format<data_T, CONFIG_T::in_width, CONFIG_T::in_frac, CONFIG_T::in_signed>::value,
                  "squared_relu: the score type is not the one the factors were made for");
    static_assert(FACTORS == CONFIG_T::heads && PLACES == CONFIG_T::heads, "squared_relu: one factor a head");
    static_assert(!CONFIG_T::causal || CONFIG_T::rows == CONFIG_T::cols, "squared_relu: a causal mask is square");
    static const int square = 2 * (CONFIG_T::in_width - 1) + 1; // signed
    static const int product = larger(square + CONFIG_T::factor_width, CONFIG_T::max_places) + 2;
    typedef tail_sizes<CONFIG_T::heads * CONFIG_T::rows * CONFIG_T::cols, CONFIG_T::cols> elements;
    for (int h = 0; h < CONFIG_T::heads; h++) {
        for (int i = 0; i < CONFIG_T::rows; i++) {
            #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
            for (int j = 0; j < CONFIG_T::cols; j++) {
                #pragma HLS UNROLL
                const int element = (h * CONFIG_T::rows + i) * CONFIG_T::cols + j;
                const int code = raw(data[element]);
                const typename integer<CONFIG_T::in_width>::type r = code > 0 ? code : 0;
                typename integer<product>::type p =
                    multiply<product>(multiply<square>(r, r), entry<CONFIG_T::factor_width + 1>(factor[h]));
                p += shift_left<product>(1, places[h] - 1);
                p = shift_down<product>(p, places[h]);
                if (p > CONFIG_T::code_limit) {
                    p = CONFIG_T::code_limit;
                }
                if (CONFIG_T::causal && j > i) {
                    p = 0;
                }
                res[element] = finish<res_T, CONFIG_T, elements>(typename integer<CONFIG_T::core_width>::type(p),
                                                                 element, j, scale, offset);
            }
        }
    }
}

} // namespace hls4attn

#endif
