// SPDX-License-Identifier: Apache-2.0
//
// Exact integer LayerNorm: the baseline, with whole squares, an integer square root and one division a row.
//
//      x[r][:] --+--( + )--> Ex ---------+------------------------------+
//                |                       v                              v
//                +--( ^2 +)--> * C --> ( - Ex^2 ) --> V, >= 1      ( C x_c - Ex )
//                |                       |                              |
//                |                       +--> root --> 1 / root --> r --( x )-- G[c]
//                |                       +--> p, e                      |
//                |                                                      v
//                +--> every channel again           y[r][c] <-- tail <-- affine step (attn_norm.h)
//
// Formula:  V = C * sum x^2 - Ex^2;  e = floor(p / 2), p the position of V's leading one;
//           root = isqrt( V * 4^(root_bits-1-e) );  r = ( 2^(rsqrt_bits + root_bits) + floor(root / 2) ) div root
// V is C^2 times the variance and C x - Ex is C times the centred code, so no mean is rounded and C cancels.
// One row enters every reuse_factor cycles.
// Source: LayerNorm, arXiv 1607.06450, in integers; the root is the digit-by-digit method in base 2.

#ifndef HLS4ATTN_LAYERNORM_H_
#define HLS4ATTN_LAYERNORM_H_

#include "attn_norm.h"

namespace hls4attn {

struct layernorm_config : norm_config {
    static const int root_bits = 16;
    static const int rsqrt_bits = 16;
};

template <typename CONFIG_T> struct layernorm_sizes {
    static_assert(CONFIG_T::in_width <= 16, "layernorm: codes of 16 bits or less");
    static_assert(CONFIG_T::root_bits >= 8 && CONFIG_T::root_bits <= 20 && CONFIG_T::rsqrt_bits >= 8 &&
                      CONFIG_T::rsqrt_bits <= 20, "layernorm: a root and a reciprocal of 8 to 20 bits");
    static const int input = CONFIG_T::in_width + !CONFIG_T::in_signed;
    static const int magnitude = input - 1; // |x| <= 2^magnitude
    static const int terms = bit_length(CONFIG_T::channels);
    static const int total = input + terms;
    static const int power = 2 * magnitude + terms + 1;
    static const int variance = 2 * (magnitude + terms) + 1;
    static const int radicand = 2 * CONFIG_T::root_bits + 1; // signed
    static const int remainder = CONFIG_T::root_bits + 3;
    static const int centred = input + terms + 1;
    static const int dividend = CONFIG_T::rsqrt_bits + CONFIG_T::root_bits + 2;
    static const int inverse = CONFIG_T::rsqrt_bits + 3; // 2^(rsqrt_bits + 1) included
    static const int product = CONFIG_T::gamma_bits + inverse + CONFIG_T::in_width + bit_length(CONFIG_T::channels - 1);
    typedef typename integer<input>::type input_t;
    typedef typename integer<total>::type total_t;
    typedef typename integer<power>::type power_t;
    typedef typename integer<variance>::type variance_t;
    typedef typename integer<radicand>::type radicand_t;
    typedef typename integer<inverse>::type inverse_t;
};

// floor(sqrt(value)) of 0 <= value < 4^root_bits; one bit of the result from two bits of the value.
template <typename CONFIG_T> inline int integer_root(typename layernorm_sizes<CONFIG_T>::radicand_t value) {
    #pragma HLS INLINE
    typedef layernorm_sizes<CONFIG_T> sizes;
    typename integer<sizes::remainder>::type rest = 0;
    int root = 0;
    for (int n = CONFIG_T::root_bits - 1; n >= 0; n--) {
        #pragma HLS UNROLL
        rest = shift_left<sizes::remainder>(rest, 2);
        rest += int(shift_down<sizes::radicand>(value, 2 * n)) & 3;
        const int trial = 4 * root + 1;
        root *= 2;
        if (rest >= trial) {
            rest -= trial;
            root += 1;
        }
    }
    return root;
}

// Mantissa and exponent of the reciprocal square root of V >= 1.
template <typename CONFIG_T>
inline typename layernorm_sizes<CONFIG_T>::inverse_t reciprocal_root(
    typename layernorm_sizes<CONFIG_T>::variance_t variance, int &e) {
    #pragma HLS INLINE
    typedef layernorm_sizes<CONFIG_T> sizes;
    e = leading_one_position<sizes::variance>(variance) >> 1;
    const int up = 2 * (CONFIG_T::root_bits - 1 - e);
    typename sizes::radicand_t radicand;
    if (up >= 0) {
        radicand = shift_left<sizes::radicand>(typename sizes::radicand_t(variance), up);
    } else {
        radicand = typename sizes::radicand_t(shift_down<sizes::variance>(variance, -up));
    }
    const int root = integer_root<CONFIG_T>(radicand);
    typename integer<sizes::dividend>::type dividend =
        shift_left<sizes::dividend>(1, CONFIG_T::rsqrt_bits + CONFIG_T::root_bits);
    dividend += root >> 1;
    return typename sizes::inverse_t(dividend / root);
}

// What a row's sums become: inverse * 2^-e is the reciprocal square root of V, up to a constant power of two.
template <typename CONFIG_T>
inline typename layernorm_sizes<CONFIG_T>::inverse_t layernorm_inverse(
    typename layernorm_sizes<CONFIG_T>::total_t total, typename layernorm_sizes<CONFIG_T>::power_t power, int &e) {
    #pragma HLS INLINE
    typedef layernorm_sizes<CONFIG_T> sizes;
    typename sizes::variance_t variance =
        multiply<sizes::variance>(power, entry<sizes::terms + 1>(CONFIG_T::channels));
    variance -= multiply<sizes::variance>(total, total);
    if (variance < 1) {
        variance = 1;
    }
    return reciprocal_root<CONFIG_T>(variance, e);
}

// The exact result of one channel.
template <typename CONFIG_T, class gamma_T, class bias_T>
inline typename integer<CONFIG_T::core_width>::type layernorm_core(
    typename layernorm_sizes<CONFIG_T>::input_t x, typename layernorm_sizes<CONFIG_T>::total_t total,
    typename layernorm_sizes<CONFIG_T>::inverse_t inverse, int e, gamma_T gamma, bias_T bias) {
    #pragma HLS INLINE
    typedef layernorm_sizes<CONFIG_T> sizes;
    typename integer<sizes::centred>::type centred =
        multiply<sizes::centred>(x, entry<sizes::terms + 1>(CONFIG_T::channels));
    centred -= total;
    const typename integer<sizes::inverse + CONFIG_T::gamma_bits>::type slope =
        multiply<sizes::inverse + CONFIG_T::gamma_bits>(inverse, entry<CONFIG_T::gamma_bits>(gamma));
    return affine_code<CONFIG_T, sizes::product>(multiply<sizes::product>(slope, centred), CONFIG_T::affine_shift + e,
                                                 bias);
}

template <class data_T, class res_T, typename CONFIG_T, class gamma_T, int GAMMAS, class bias_T, int BIASES,
          class scale_T, int SCALES, class offset_T, int OFFSETS>
void layernorm(const data_T data[CONFIG_T::rows * CONFIG_T::channels],
               res_T res[CONFIG_T::rows * CONFIG_T::channels], const gamma_T (&gamma)[GAMMAS],
               const bias_T (&bias)[BIASES], const scale_T (&scale)[SCALES], const offset_T (&offset)[OFFSETS]) {
    static_assert(norm_legal<CONFIG_T, data_T, GAMMAS, BIASES>::value, "layernorm: see above");
    #pragma HLS ARRAY_PARTITION variable=gamma complete
    #pragma HLS ARRAY_PARTITION variable=bias complete
    typedef tail_sizes<CONFIG_T::rows * CONFIG_T::channels, CONFIG_T::channels> elements;
    #pragma HLS ARRAY_PARTITION variable=scale cyclic factor=CONFIG_T::scale_banks
    #pragma HLS ARRAY_PARTITION variable=offset cyclic factor=CONFIG_T::offset_banks
    typedef layernorm_sizes<CONFIG_T> sizes;
    for (int r = 0; r < CONFIG_T::rows; r++) {
        #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
        typename sizes::total_t total = 0;
        typename sizes::power_t power = 0;
        for (int c = 0; c < CONFIG_T::channels; c++) {
            #pragma HLS UNROLL
            const typename sizes::input_t x = raw(data[r * CONFIG_T::channels + c]);
            total += x;
            power += multiply<sizes::power>(x, x);
        }
        int e;
        const typename sizes::inverse_t inverse = layernorm_inverse<CONFIG_T>(total, power, e);
        for (int c = 0; c < CONFIG_T::channels; c++) {
            #pragma HLS UNROLL
            const int element = r * CONFIG_T::channels + c;
            res[element] = finish<res_T, CONFIG_T, elements>(
                layernorm_core<CONFIG_T>(raw(data[element]), total, inverse, e, gamma[c], bias[c]), element, c, scale,
                offset);
        }
    }
}

} // namespace hls4attn

#endif
