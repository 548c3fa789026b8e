// SPDX-License-Identifier: Apache-2.0
//
// What E2Softmax and its shift form share: exponents of a slice, the running maximum and sum, the row's divider.
//
//      x[0..V) --> max, m --> m' --+--> m' - m --> log2exp --> r
//                                  |                           |
//                                  |                     S --( >> )--( + )--> S'
//                                  v                                   ^
//      x[0..V) ------------> m' - x_j --> log2exp --> k_j --> 2^-k_j --+         S --> ks, q (leading one, next bits)
//
// Formula:  log2exp(d) = min( 2^code_width - 1, ( d * f + 2^(p-1) ) >> p ),   f = 23 = 16 + 8 - 1 (log2 e = 23/16) or
//           a head's factor;   S = 2^ks * (1 + s), q = the mux_bits bits of s;   p = C[q] * 2^-(k + ks)
// One slice as long as the row is the two-pass form.  23 d takes two adders; only "folded" factors are multiplied.
// Source: SOLE, arXiv 2510.17189, equations 7 to 13 and 17, algorithm 1, figure 4.

#ifndef HLS4ATTN_E2STAGES_H_
#define HLS4ATTN_E2STAGES_H_

#include "attn_tail.h"

namespace hls4attn {

struct e2_config {
    static const int code_width = 4;      // bits of an exponent k
    static const int numerator_frac = 15; // fraction bits of a numerator and of the row sum
    static const int mux_bits = 1;        // log2 of the divider's entries
    static const int divider_frac = 8;    // fraction bits of its entries
    static const int slice_length = 0;    // 0: the whole row
    static const bool folded = false;     // whether heads have factors; else the factor is 23
    static const int factor_width = 5;    // bits of a factor
    static const int exp_places = 0;      // p where all heads have the same, else 0: it is read from the ROM
    static const int max_places = 8;      // the largest p
};

template <typename CONFIG_T> struct e2_sizes {
    static const int distance = CONFIG_T::in_width + 1; // signed bits of m - x
    static const int exponent = CONFIG_T::code_width + 1;
    static const int max_exponent = (1 << CONFIG_T::code_width) - 1;
    static const int numerator = CONFIG_T::numerator_frac + 2;
    static const int product = larger(CONFIG_T::in_width + CONFIG_T::factor_width, CONFIG_T::max_places) + 2;
    typedef typename integer<distance>::type distance_t;
    typedef typename integer<exponent>::type exponent_t;
    typedef typename integer<numerator>::type numerator_t;
};

// What a row of LENGTH scores sums up to.
template <typename CONFIG_T, int LENGTH> struct e2_row {
    static const int width = e2_sizes<CONFIG_T>::numerator + bit_length(LENGTH);
    static const int max_ks = bit_length(LENGTH) - 1; // the sum is LENGTH at most
    typedef typename integer<width>::type sum_t;
};

template <typename CONFIG_T> struct e2_legal {
    static_assert(CONFIG_T::in_signed && CONFIG_T::in_width >= 2 && CONFIG_T::in_width <= 12,
                  "E2Softmax: signed scores of 2 to 12 bits");
    static_assert(CONFIG_T::code_width >= 3 && CONFIG_T::code_width <= 6, "E2Softmax: exponents of 3 to 6 bits");
    static_assert(CONFIG_T::numerator_frac >= 8 && CONFIG_T::numerator_frac <= 31,
                  "E2Softmax: sums of 8 to 31 fraction bits");
    static_assert(CONFIG_T::mux_bits >= 1 && CONFIG_T::mux_bits <= 3, "E2Softmax: a divider of 2, 4 or 8 entries");
    static_assert(CONFIG_T::divider_frac >= 4 && CONFIG_T::divider_frac <= 16, "E2Softmax: 4 to 16 divider bits");
    static_assert(CONFIG_T::max_places >= 1 && CONFIG_T::max_places <= 40 &&
                      (CONFIG_T::exp_places == 0 || CONFIG_T::exp_places == CONFIG_T::max_places),
                  "E2Softmax: a Log2Exp shift of 1 to 40 places");
    static_assert(CONFIG_T::folded || CONFIG_T::factor_width == 5, "E2Softmax: 23 has five bits");
    static const bool value = true;
};

// k of a distance d >= 0 below the maximum.
template <typename CONFIG_T>
inline typename e2_sizes<CONFIG_T>::exponent_t log2exp(typename e2_sizes<CONFIG_T>::distance_t d, int factor,
                                                       int places) {
    #pragma HLS INLINE
    static const int width = e2_sizes<CONFIG_T>::product;
    typename integer<width>::type product;
    if (CONFIG_T::folded) {
        product = multiply<width>(d, entry<CONFIG_T::factor_width + 1>(factor));
    } else {
        product = shift_up<width, 4>(d);
        product += shift_up<width, 3>(d);
        product -= d;
    }
    const int by = CONFIG_T::exp_places > 0 ? CONFIG_T::exp_places : places;
    product += shift_left<width>(1, by - 1);
    product = shift_down<width>(product, by);
    if (product > e2_sizes<CONFIG_T>::max_exponent) {
        product = e2_sizes<CONFIG_T>::max_exponent;
    }
    return typename e2_sizes<CONFIG_T>::exponent_t(product);
}

// 2^-k with numerator_frac fraction bits; zero where they end.
template <typename CONFIG_T> inline typename e2_sizes<CONFIG_T>::numerator_t numerator(int k) {
    #pragma HLS INLINE
    if (k > CONFIG_T::numerator_frac) {
        return 0;
    }
    return shift_left<e2_sizes<CONFIG_T>::numerator>(1, CONFIG_T::numerator_frac - k);
}

// Stage 2 of the online form: what a later maximum adds to an exponent.
template <typename CONFIG_T>
inline typename e2_sizes<CONFIG_T>::exponent_t corrected(typename e2_sizes<CONFIG_T>::exponent_t k, int fall) {
    #pragma HLS INLINE
    const int both = int(k) + fall;
    return both > e2_sizes<CONFIG_T>::max_exponent ? e2_sizes<CONFIG_T>::max_exponent : both;
}

template <typename CONFIG_T> inline bool seen_by(int row, int column) {
    #pragma HLS INLINE
    return !CONFIG_T::causal || column <= row;
}

// Stage 1 for the LANES scores from `start` on: exponents, and the row's maximum and sum so far.
template <typename CONFIG_T, int LENGTH, int LANES, int STRIDE, class data_T>
inline void e2_slice(const data_T data[], int first, int start, int row, int factor, int places,
                     typename e2_sizes<CONFIG_T>::distance_t &top, typename e2_row<CONFIG_T, LENGTH>::sum_t &sum,
                     typename e2_sizes<CONFIG_T>::exponent_t k[LANES]) {
    #pragma HLS INLINE
    typedef typename e2_sizes<CONFIG_T>::distance_t distance_t;
    distance_t code[LANES];
    #pragma HLS ARRAY_PARTITION variable=code complete
    distance_t risen = top;
    for (int lane = 0; lane < LANES; lane++) {
        #pragma HLS UNROLL
        const int j = start + lane;
        code[lane] = -(1 << (CONFIG_T::in_width - 1));
        if (j < LENGTH && seen_by<CONFIG_T>(row, j)) {
            code[lane] = raw(data[first + j * STRIDE]);
        }
        if (code[lane] > risen) {
            risen = code[lane];
        }
    }
    sum = shift_down<e2_row<CONFIG_T, LENGTH>::width>(
        sum, int(log2exp<CONFIG_T>(distance_t(risen - top), factor, places)));
    for (int lane = 0; lane < LANES; lane++) {
        #pragma HLS UNROLL
        k[lane] = log2exp<CONFIG_T>(distance_t(risen - code[lane]), factor, places);
        if (start + lane < LENGTH && seen_by<CONFIG_T>(row, start + lane)) {
            sum += numerator<CONFIG_T>(k[lane]);
        }
    }
    top = risen;
}

// ks and q of a row sum; a sum below one (of a row without elements) counts as one.
template <typename CONFIG_T, int LENGTH>
inline void leading_one(typename e2_row<CONFIG_T, LENGTH>::sum_t sum, int &ks, int &q) {
    #pragma HLS INLINE
    typedef e2_row<CONFIG_T, LENGTH> row_t;
    typename row_t::sum_t from = shift_left<row_t::width>(1, CONFIG_T::numerator_frac);
    if (sum > from) {
        from = sum;
    }
    ks = 0;
    for (int n = 1; n <= row_t::max_ks; n++) {
        #pragma HLS UNROLL
        if (shift_down<row_t::width>(from, CONFIG_T::numerator_frac + n) != 0) {
            ks = n;
        }
    }
    q = int(shift_down<row_t::width>(from, CONFIG_T::numerator_frac + ks - CONFIG_T::mux_bits)) &
        ((1 << CONFIG_T::mux_bits) - 1);
}

} // namespace hls4attn

#endif
