// SPDX-License-Identifier: Apache-2.0
//
// ConSmax by bitwidth-split tables: 16 short floating-point entries for each nibble of the score, 2 or 4 nibbles.
//
//                   +-- nibble n-1 --> mantissa, shift --+
//      x, sign  ----+-- ...                               +-- ( x ) mantissas --> >> sum of shifts, half up --+
//      bit flipped  +-- nibble 0   --> mantissa, shift --+    ( + ) shifts                                    |
//                                                                                                             v
//                               y <-- tail <-- j > i ? 0 : p <-- << head_shift (common grid) <-- min(., code_limit)
//
// Formula:  p = min( code_limit, ( prod_n M_n[x_n] + 2^(s-1) ) >> s ),  s = limited( sum_n S_n[x_n] )
// Entry i of nibble n is M * 2^-S = exp(scale * 16^n * i) in mantissa_bits bits; exp(-beta)/gamma and the output
// exponent are folded into the top table.  Products are kept whole: one rounding ends the chain.
// Source: ConSmax, arXiv 2402.10930v3, section IV-A (8-bit scores) and IV-B (16-bit scores).

#ifndef HLS4ATTN_CONSMAX_SPLIT_H_
#define HLS4ATTN_CONSMAX_SPLIT_H_

#include "attn_consmax.h"

namespace hls4attn {

struct consmax_split_config : score_config {
    static const int nibbles = 2;
    static const int mantissa_bits = 8;
    static const int shift_width = 8;  // signed bits of a table's shift
    static const int max_shift = 17;   // nibbles * mantissa_bits + 1: beyond it nothing is left
    static const int code_limit = 255; // largest code of one head
};

template <typename CONFIG_T, int MANTISSAS, int SHIFTS, int HEADS> struct consmax_split_legal {
    static_assert(CONFIG_T::in_width == 4 * CONFIG_T::nibbles, "consmax_split: four bits a nibble");
    static_assert(MANTISSAS == CONFIG_T::nibbles * CONFIG_T::heads * 16 && SHIFTS == MANTISSAS,
                  "consmax_split: 16 entries a nibble and head");
    static_assert(HEADS == CONFIG_T::heads, "consmax_split: one shift a head");
    static_assert(CONFIG_T::nibbles * CONFIG_T::mantissa_bits <= 60, "consmax_split: the product has 60 bits or less");
    static_assert(CONFIG_T::max_shift == CONFIG_T::nibbles * CONFIG_T::mantissa_bits + 1,
                  "consmax_split: max_shift follows from the mantissas");
    static const bool value = true;
};

// p of a score of head h, on the grid that all heads share.
template <typename CONFIG_T, class mantissa_T, class shift_T, class grid_T>
inline typename integer<CONFIG_T::core_width>::type split_exponential(int score, int h, const mantissa_T mantissa[],
                                                                      const shift_T shift[],
                                                                      const grid_T head_shift[]) {
    #pragma HLS INLINE
    static const int product_width = CONFIG_T::nibbles * CONFIG_T::mantissa_bits + 2; // sign, and the rounding carry
    static const int sum_bits = CONFIG_T::shift_width + 2;                            // of up to four shifts
    const int code = score + (1 << (CONFIG_T::in_width - 1));
    typename integer<product_width>::type product = 1;
    typename integer<sum_bits>::type right = 0;
    for (int n = 0; n < CONFIG_T::nibbles; n++) {
        #pragma HLS UNROLL
        const int at = (n * CONFIG_T::heads + h) * 16 + ((code >> (4 * n)) & 15);
        product = multiply<product_width>(product, entry<CONFIG_T::mantissa_bits + 1>(mantissa[at]));
        right += entry<CONFIG_T::shift_width>(shift[at]);
    }
    // Neither limit changes a result: at 1 the product is beyond code_limit, at max_shift it is gone.
    int places = right;
    places = places < 1 ? 1 : places > CONFIG_T::max_shift ? CONFIG_T::max_shift : places;
    product += typename integer<product_width>::type(1) << (places - 1);
    product >>= places;
    if (product > CONFIG_T::code_limit) {
        product = CONFIG_T::code_limit;
    }
    return typename integer<CONFIG_T::core_width>::type(product) << int(head_shift[h]);
}

template <class data_T, class res_T, typename CONFIG_T, class mantissa_T, int MANTISSAS, class shift_T, int SHIFTS,
          class grid_T, int HEADS, class scale_T, int SCALES, class offset_T, int OFFSETS>
void consmax_split(const data_T data[CONFIG_T::heads * CONFIG_T::rows * CONFIG_T::cols],
                   res_T res[CONFIG_T::heads * CONFIG_T::rows * CONFIG_T::cols],
                   const mantissa_T (&mantissa)[MANTISSAS], const shift_T (&shift)[SHIFTS],
                   const grid_T (&head_shift)[HEADS],
                   const scale_T (&scale)[SCALES], const offset_T (&offset)[OFFSETS]) {
    static_assert(same_format<data_T, CONFIG_T::in_width, CONFIG_T::in_frac, CONFIG_T::in_signed>::value,
                  "consmax_split: the score type is not the one the tables were made for");
    static_assert(consmax_split_legal<CONFIG_T, MANTISSAS, SHIFTS, HEADS>::value, "consmax_split: see above");
    static_assert(!CONFIG_T::causal || CONFIG_T::rows == CONFIG_T::cols, "consmax_split: a causal mask is square");
    #pragma HLS ARRAY_PARTITION variable=mantissa complete
    #pragma HLS ARRAY_PARTITION variable=shift complete
    #pragma HLS ARRAY_PARTITION variable=head_shift complete
    typedef tail_sizes<CONFIG_T::heads * CONFIG_T::rows * CONFIG_T::cols, CONFIG_T::cols> elements;
    #pragma HLS ARRAY_PARTITION variable=scale cyclic factor=CONFIG_T::scale_banks
    #pragma HLS ARRAY_PARTITION variable=offset cyclic factor=CONFIG_T::offset_banks
    for (int h = 0; h < CONFIG_T::heads; h++) {
        for (int i = 0; i < CONFIG_T::rows; i++) {
            #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
            for (int j = 0; j < CONFIG_T::cols; j++) {
                #pragma HLS UNROLL
                const int element = (h * CONFIG_T::rows + i) * CONFIG_T::cols + j;
                typename integer<CONFIG_T::core_width>::type p =
                    split_exponential<CONFIG_T>(int(raw(data[element])), h, mantissa, shift, head_shift);
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
