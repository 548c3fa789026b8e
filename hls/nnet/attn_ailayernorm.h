// SPDX-License-Identifier: Apache-2.0
//
// AILayerNorm: LayerNorm whose statistics are of 8-bit codes with power-of-two factors and 4-bit squares.
//
//      X[c] --> * mult, half up >> (shift + a_c), + zp --> limited 0..255 --> - zp --> x_c (9 bits)
//
//      x_c --+--> << a_c ----------------------( + )--> Ex ----> * R, half up >> --> mu -----+--------+
//            |                                                                               |        v
//            +--> |.| --> y (4 bits), s --> squares[y] << 4 s --> << 2 a_c --( + )--> Ex2 --> * R >> ( - mu^2 )
//            |                                                                               |        |
//            |                                                                               v        v var, >= 1
//            +--> << (a_c + mean_frac) ---------------------------------------------------> ( - )   rsqrt ROM --> v, e
//                                                                                            |        |
//                          y[r][c] <-- tail <-- affine step (attn_norm.h) <-- G[c] * v --> ( x ) <----+
//
// Formula:  see the drawing;  R = round(2^(16+n) / C), n = ceil(log2 C);  1/sqrt(var) = v * 2^-(rsqrt_bits + e),
//           e = floor(p / 2) with p the position of var's leading one, v from p's last bit and the bits after it
// squares: `paper` y^2 << 4 s, `lut32` a bin mean for (s, y), `exact` x^2; the first two count in units of 16.
// One row enters every reuse_factor cycles.
// Source: SOLE, arXiv 2510.17189, equations 6, 15 and 16, algorithm 2, figure 5; the tables' sizes are parameters.

#ifndef HLS4ATTN_AILAYERNORM_H_
#define HLS4ATTN_AILAYERNORM_H_

#include "attn_norm.h"

namespace hls4attn {

enum squares_form { squares_paper = 0, squares_lut32 = 1, squares_exact = 2 };

struct ailayernorm_config : norm_config {
    static const int zero_point = 128;
    static const int multiplier = 1;       // 1/s in input steps is multiplier * 2^-quant_shift
    static const int quant_shift = 0;
    static const int max_alpha = 3;        // largest channel factor
    static const int squares = squares_paper;
    static const int mean_frac = 4;
    static const int reciprocal = 65536;   // R
    static const int reciprocal_frac = 16; // its fraction bits
    static const int rsqrt_bits = 9;       // bits of an entry
    static const int index_bits = 5;       // bits of the variance after its leading one that index the table
};

template <typename CONFIG_T> struct ailn_sizes {
    static const int input = CONFIG_T::in_width + !CONFIG_T::in_signed;
    static const int scaled = larger(input + bit_length(CONFIG_T::multiplier),
                                     CONFIG_T::quant_shift + CONFIG_T::max_alpha + 1) + 2;
    static const int code = 9;                                              // x: -255..255
    static const int square = CONFIG_T::squares == squares_exact ? 16 : 12; // unsigned
    static const int unit = CONFIG_T::squares == squares_exact ? 0 : 4;     // squares count in units of 2^unit
    static const int terms = bit_length(CONFIG_T::channels);
    static const int factor = 19;                                           // R is 2^17 at most
    static const int total = code + CONFIG_T::max_alpha + terms;
    static const int power = square + 2 * CONFIG_T::max_alpha + terms + 1;
    static const int fraction = CONFIG_T::max_alpha + CONFIG_T::mean_frac;  // of a centred code, beyond 8 bits
    static const int mean = code + fraction;
    static const int variance = 18 + 2 * fraction;
    static const int centred = code + fraction + 1;
    static const int slope = CONFIG_T::gamma_bits + CONFIG_T::rsqrt_bits;
    static const int product = slope + centred;
    static const int lifted = code + CONFIG_T::max_alpha;                   // x << a_c
    typedef typename integer<code>::type code_t;
    typedef typename integer<lifted>::type lifted_t;
    typedef typename integer<total>::type total_t;
    typedef typename integer<power>::type power_t;
    typedef typename integer<CONFIG_T::rsqrt_bits + 1>::type rsqrt_t;
    typedef typename integer<square + 1>::type square_t;
    typedef typename integer<mean>::type mean_t;
    typedef typename integer<variance>::type variance_t;
};

// XQ - zp of an input code, for a channel with factor 2^alpha.
template <typename CONFIG_T, class input_T>
inline typename ailn_sizes<CONFIG_T>::code_t ptf_quantise(input_T input, int alpha) {
    #pragma HLS INLINE
    static const int width = ailn_sizes<CONFIG_T>::scaled;
    const int places = CONFIG_T::quant_shift + alpha;
    typename integer<width>::type x =
        multiply<width>(input, entry<bit_length(CONFIG_T::multiplier) + 1>(CONFIG_T::multiplier));
    if (places > 0) {
        x += shift_left<width>(1, places - 1);
    }
    x = shift_down<width>(x, places);
    if (x < -CONFIG_T::zero_point) {
        x = -CONFIG_T::zero_point;
    }
    if (x > 255 - CONFIG_T::zero_point) {
        x = 255 - CONFIG_T::zero_point;
    }
    return typename ailn_sizes<CONFIG_T>::code_t(x);
}

// 4-bit code and flag of a magnitude: magnitude ~ y << (2 + 2 s), halves rounded up.
inline void dynamic_compress(int magnitude, int &y, int &s) {
    #pragma HLS INLINE
    s = (magnitude >> 6) != 0;
    y = ((magnitude >> (s ? 3 : 1)) + 1) >> 1;
    if (y > 15) {
        y = 15;
    }
}

// Contribution of a code to the sum of squares.
template <typename CONFIG_T, class square_T, int SQUARES>
inline typename ailn_sizes<CONFIG_T>::square_t squared(typename ailn_sizes<CONFIG_T>::code_t x,
                                                       const square_T (&squares)[SQUARES]) {
    #pragma HLS INLINE
    static const int width = ailn_sizes<CONFIG_T>::square + 1;
    static_assert(SQUARES == (CONFIG_T::squares == squares_exact ? 256 : CONFIG_T::squares == squares_lut32 ? 32 : 16),
                  "ailayernorm: 16 squares (paper), 32 (lut32) or 256 (exact)");
    const int magnitude = x < 0 ? int(-x) : int(x);
    if (CONFIG_T::squares == squares_exact) {
        return entry<width>(squares[magnitude & (SQUARES - 1)]);
    }
    int y, s;
    dynamic_compress(magnitude, y, s);
    if (CONFIG_T::squares == squares_lut32) {
        return entry<width>(squares[(16 * s + y) & (SQUARES - 1)]);
    }
    return shift_left<width>(entry<width>(squares[y & (SQUARES - 1)]), s ? 4 : 0);
}

// Mean of a row, with mean_frac fraction bits.
template <typename CONFIG_T>
inline typename ailn_sizes<CONFIG_T>::mean_t row_mean(typename ailn_sizes<CONFIG_T>::total_t total) {
    #pragma HLS INLINE
    static const int width = ailn_sizes<CONFIG_T>::total + ailn_sizes<CONFIG_T>::factor;
    static const int places = CONFIG_T::reciprocal_frac - CONFIG_T::mean_frac;
    typename integer<width>::type scaled =
        multiply<width>(total, entry<ailn_sizes<CONFIG_T>::factor>(CONFIG_T::reciprocal));
    scaled += shift_left<width>(1, places - 1);
    return typename ailn_sizes<CONFIG_T>::mean_t(shift_down<width>(scaled, places));
}

// Variance of a row, with 2 * mean_frac fraction bits; at least one step.
template <typename CONFIG_T>
inline typename ailn_sizes<CONFIG_T>::variance_t row_variance(
    typename ailn_sizes<CONFIG_T>::power_t power, typename ailn_sizes<CONFIG_T>::mean_t mean) {
    #pragma HLS INLINE
    typedef ailn_sizes<CONFIG_T> sizes;
    static const int width = sizes::power + sizes::unit + sizes::factor;
    const typename integer<width>::type scaled =
        multiply<width>(shift_up<sizes::power + sizes::unit, sizes::unit>(power),
                        entry<sizes::factor>(CONFIG_T::reciprocal));
    typename sizes::variance_t variance = typename sizes::variance_t(
        shift_down<width>(scaled, CONFIG_T::reciprocal_frac - 2 * CONFIG_T::mean_frac));
    variance -= multiply<sizes::variance>(mean, mean);
    if (variance < 1) {
        variance = 1;
    }
    return variance;
}

// Index into the reciprocal square root table, and the exponent e, of a variance of at least 1.
template <typename CONFIG_T> inline int rsqrt_index(typename ailn_sizes<CONFIG_T>::variance_t variance, int &e) {
    #pragma HLS INLINE
    static const int width = ailn_sizes<CONFIG_T>::variance;
    const int p = leading_one_position<width>(variance);
    const int up = CONFIG_T::index_bits - p;
    const int kept = up > 0 ? int(variance) << up : int(shift_down<width>(variance, -up));
    e = p >> 1;
    return ((p & 1) << CONFIG_T::index_bits) | (kept & ((1 << CONFIG_T::index_bits) - 1));
}

// A quantised channel x << a_c, and its square times 4^a_c.
template <typename CONFIG_T, class input_T, class square_T, int SQUARES>
inline typename ailn_sizes<CONFIG_T>::lifted_t lifted_code(input_T input, int alpha,
                                                           const square_T (&squares)[SQUARES],
                                                           typename ailn_sizes<CONFIG_T>::power_t &square) {
    #pragma HLS INLINE
    typedef ailn_sizes<CONFIG_T> sizes;
    const typename sizes::code_t x = ptf_quantise<CONFIG_T>(input, alpha);
    square = shift_left<sizes::power>(squared<CONFIG_T>(x, squares), 2 * alpha);
    return shift_left<sizes::lifted>(x, alpha);
}

// What a row's sums become: v * 2^-e is the reciprocal of its standard deviation, up to a constant power of two.
template <typename CONFIG_T, class rsqrt_T, int ENTRIES>
inline typename ailn_sizes<CONFIG_T>::rsqrt_t ailn_inverse(typename ailn_sizes<CONFIG_T>::power_t power,
                                                           typename ailn_sizes<CONFIG_T>::mean_t mean, int &e,
                                                           const rsqrt_T (&rsqrt)[ENTRIES]) {
    #pragma HLS INLINE
    static_assert(ENTRIES == 2 << CONFIG_T::index_bits, "ailayernorm: a table of 2^(index_bits + 1) entries");
    return entry<CONFIG_T::rsqrt_bits + 1>(rsqrt[rsqrt_index<CONFIG_T>(row_variance<CONFIG_T>(power, mean), e)]);
}

// The exact result of one channel.
template <typename CONFIG_T, class gamma_T, class bias_T>
inline typename integer<CONFIG_T::core_width>::type ailn_core(typename ailn_sizes<CONFIG_T>::lifted_t lifted,
                                                              typename ailn_sizes<CONFIG_T>::mean_t mean,
                                                              typename ailn_sizes<CONFIG_T>::rsqrt_t v, int e,
                                                              gamma_T gamma, bias_T bias) {
    #pragma HLS INLINE
    typedef ailn_sizes<CONFIG_T> sizes;
    typename integer<sizes::centred>::type centred = shift_up<sizes::centred, CONFIG_T::mean_frac>(lifted);
    centred -= mean;
    const typename integer<sizes::slope>::type slope = multiply<sizes::slope>(v, entry<CONFIG_T::gamma_bits>(gamma));
    return affine_code<CONFIG_T, sizes::product>(multiply<sizes::product>(slope, centred), CONFIG_T::affine_shift + e,
                                                 bias);
}

template <typename CONFIG_T, int ALPHAS> struct ailn_legal {
    static_assert(ALPHAS == CONFIG_T::channels, "ailayernorm: one factor a channel");
    static_assert(CONFIG_T::max_alpha >= 0 && CONFIG_T::max_alpha <= 3, "ailayernorm: factors from 1 to 8");
    static_assert(CONFIG_T::zero_point >= 0 && CONFIG_T::zero_point <= 255, "ailayernorm: an 8-bit zero point");
    static_assert(CONFIG_T::reciprocal_frac > 2 * CONFIG_T::mean_frac, "ailayernorm: mean_frac is too large");
    static const bool value = true;
};

template <class data_T, class res_T, typename CONFIG_T, class alpha_T, int ALPHAS, class square_T, int SQUARES,
          class rsqrt_T, int ENTRIES, class gamma_T, int GAMMAS, class bias_T, int BIASES, class scale_T, int SCALES,
          class offset_T, int OFFSETS>
void ailayernorm(const data_T data[CONFIG_T::rows * CONFIG_T::channels],
                 res_T res[CONFIG_T::rows * CONFIG_T::channels], const alpha_T (&alpha)[ALPHAS],
                 const square_T (&squares)[SQUARES], const rsqrt_T (&rsqrt)[ENTRIES], const gamma_T (&gamma)[GAMMAS],
                 const bias_T (&bias)[BIASES], const scale_T (&scale)[SCALES], const offset_T (&offset)[OFFSETS]) {
    static_assert(norm_legal<CONFIG_T, data_T, GAMMAS, BIASES>::value, "ailayernorm: see above");
    static_assert(ailn_legal<CONFIG_T, ALPHAS>::value, "ailayernorm: see above");
    #pragma HLS ARRAY_PARTITION variable=alpha complete
    #pragma HLS ARRAY_PARTITION variable=squares complete
    #pragma HLS ARRAY_PARTITION variable=gamma complete
    #pragma HLS ARRAY_PARTITION variable=bias complete
    typedef tail_sizes<CONFIG_T::rows * CONFIG_T::channels, CONFIG_T::channels> elements;
    #pragma HLS ARRAY_PARTITION variable=scale cyclic factor=CONFIG_T::scale_banks
    #pragma HLS ARRAY_PARTITION variable=offset cyclic factor=CONFIG_T::offset_banks
    typedef ailn_sizes<CONFIG_T> sizes;
    for (int r = 0; r < CONFIG_T::rows; r++) {
        #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
        typename sizes::lifted_t x[CONFIG_T::channels];
        #pragma HLS ARRAY_PARTITION variable=x complete
        typename sizes::total_t total = 0;
        typename sizes::power_t power = 0;
        for (int c = 0; c < CONFIG_T::channels; c++) {
            #pragma HLS UNROLL
            typename sizes::power_t square;
            x[c] = lifted_code<CONFIG_T>(raw(data[r * CONFIG_T::channels + c]), alpha[c], squares, square);
            total += x[c];
            power += square;
        }
        const typename sizes::mean_t mean = row_mean<CONFIG_T>(total);
        int e;
        const typename sizes::rsqrt_t v = ailn_inverse<CONFIG_T>(power, mean, e, rsqrt);
        for (int c = 0; c < CONFIG_T::channels; c++) {
            #pragma HLS UNROLL
            const int element = r * CONFIG_T::channels + c;
            res[element] = finish<res_T, CONFIG_T, elements>(ailn_core<CONFIG_T>(x[c], mean, v, e, gamma[c], bias[c]),
                                                             element, c, scale, offset);
        }
    }
}

} // namespace hls4attn

#endif
