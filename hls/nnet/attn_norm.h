// SPDX-License-Identifier: Apache-2.0
//
// What the normalisations share: the integer affine step that ends them.
//
//      a * G[c] --> >> places --( + )--> >> bias_frac --> limited to core_min..core_max --> tail --> y[r][c]
//                                 ^
//                                B[c] + half
//
// Formula:  y = saturate( ( ( product >> places ) + B_c + 2^(bias_frac-1) ) >> bias_frac )
// B_c comes with the half added.  Shifts round towards minus infinity.
// Source: SOLE, arXiv 2510.17189, algorithm 2, last line; its fraction bits are this package's choice.

#ifndef HLS4ATTN_NORM_H_
#define HLS4ATTN_NORM_H_

#include "attn_tail.h"

namespace hls4attn {

struct norm_config : tail_config {
    static const int rows = 1;
    static const int channels = 1;
    static const int in_width = 8;
    static const int in_frac = 0;
    static const bool in_signed = true;
    static const int gamma_bits = 8;    // signed bits of an integer gamma
    static const int bias_width = 8;    // signed bits of an integer beta with its half
    static const int bias_frac = 4;     // its fraction bits, in output steps
    static const int affine_shift = 0;  // right shift of the product for a variance of 1
    static const int lanes = 1;         // streaming: channels of a cycle
    static const int latency = 1;
};

// The output code of an exact product that has WIDTH bits.
template <typename CONFIG_T, int WIDTH, class product_T, class bias_T>
inline typename integer<CONFIG_T::core_width>::type affine_code(product_T product, int places, bias_T bias) {
    #pragma HLS INLINE
    static const int width = larger(WIDTH, CONFIG_T::bias_width) + 1;
    static_assert(width <= 64, "normalisation: the product does not fit 63 bits");
    typename integer<width>::type sum = shift_down<WIDTH>(product, places);
    sum += entry<CONFIG_T::bias_width>(bias);
    return limit_core<CONFIG_T>(shift_down<width>(sum, CONFIG_T::bias_frac));
}

template <typename CONFIG_T, class data_T, int GAMMAS, int BIASES> struct norm_legal {
    static_assert(same_format<data_T, CONFIG_T::in_width, CONFIG_T::in_frac, CONFIG_T::in_signed>::value,
                  "normalisation: the input type is not the one the model has");
    static_assert(GAMMAS == CONFIG_T::channels && BIASES == CONFIG_T::channels,
                  "normalisation: one gamma and one beta a channel");
    static_assert(CONFIG_T::channels >= 1 && CONFIG_T::channels <= 1024, "normalisation: 1 to 1024 channels");
    static_assert(CONFIG_T::affine_shift >= 0 && CONFIG_T::bias_frac >= 0, "normalisation: shifts are to the right");
    static const bool value = true;
};

} // namespace hls4attn

#endif
