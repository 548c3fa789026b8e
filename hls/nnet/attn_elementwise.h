// SPDX-License-Identifier: Apache-2.0
//
// Element by element: requantisation, constants and ReLU on one tensor; sum or product of two.
//
//      affine:   x -----------------------------> tail --> y
//
//      add:      a --<< a_shift--( + )
//                b --<< b_shift----^ -----------> tail --> y          multiply:  a --( x )-- b --> tail --> y
//
// Formula:  y = tail(x);   y = tail(a * 2^a_shift + b * 2^b_shift);   y = tail(a * b)
// The shifts align two formats to the larger number of fraction bits (a residual joins values of different scale).
// Source: plain fixed-point arithmetic.

#ifndef HLS4ATTN_ELEMENTWISE_H_
#define HLS4ATTN_ELEMENTWISE_H_

#include "attn_tail.h"

namespace hls4attn {

struct elementwise_config : tail_config {
    static const int rows = 1;
    static const int channels = 1;
    static const int in_width = 8;
    static const int in_frac = 0;
    static const bool in_signed = true;
    static const int in2_width = 8; // of the second operand
    static const int in2_frac = 0;
    static const bool in2_signed = true;
    static const int a_shift = 0;
    static const int b_shift = 0;
    static const int lanes = 1; // streaming: channels of a cycle
    static const int latency = 1;
};

template <typename CONFIG_T, class a_T, class b_T>
inline typename integer<CONFIG_T::core_width>::type aligned_sum(a_T a, b_T b) {
    #pragma HLS INLINE
    typename integer<CONFIG_T::core_width>::type sum = shift_up<CONFIG_T::core_width, CONFIG_T::a_shift>(a);
    sum += shift_up<CONFIG_T::core_width, CONFIG_T::b_shift>(b);
    return sum;
}

// What two operands must be.
template <class a_T, class b_T, typename CONFIG_T> struct operand_types {
    static const bool value =
        same_format<a_T, CONFIG_T::in_width, CONFIG_T::in_frac, CONFIG_T::in_signed>::value &&
        same_format<b_T, CONFIG_T::in2_width, CONFIG_T::in2_frac, CONFIG_T::in2_signed>::value;
};

template <typename CONFIG_T> struct aligned_operands {
    static const bool value = CONFIG_T::in_frac + CONFIG_T::a_shift == CONFIG_T::in2_frac + CONFIG_T::b_shift;
};

template <class data_T, class res_T, typename CONFIG_T, class scale_T, int SCALES, class offset_T, int OFFSETS>
void affine(const data_T data[CONFIG_T::rows * CONFIG_T::channels], res_T res[CONFIG_T::rows * CONFIG_T::channels],
            const scale_T (&scale)[SCALES], const offset_T (&offset)[OFFSETS]) {
    static_assert(same_format<data_T, CONFIG_T::in_width, CONFIG_T::in_frac, CONFIG_T::in_signed>::value,
                  "affine: the input type is not the one the model has");
    typedef tail_sizes<CONFIG_T::rows * CONFIG_T::channels, CONFIG_T::channels> elements;
    #pragma HLS ARRAY_PARTITION variable=scale cyclic factor=CONFIG_T::scale_banks
    #pragma HLS ARRAY_PARTITION variable=offset cyclic factor=CONFIG_T::offset_banks
    for (int r = 0; r < CONFIG_T::rows; r++) {
        #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
        for (int c = 0; c < CONFIG_T::channels; c++) {
            #pragma HLS UNROLL
            const int element = r * CONFIG_T::channels + c;
            res[element] = finish<res_T, CONFIG_T, elements>(raw(data[element]), element, c, scale, offset);
        }
    }
}

template <class a_T, class b_T, class res_T, typename CONFIG_T, class scale_T, int SCALES, class offset_T,
          int OFFSETS>
void add(const a_T a[CONFIG_T::rows * CONFIG_T::channels], const b_T b[CONFIG_T::rows * CONFIG_T::channels],
         res_T res[CONFIG_T::rows * CONFIG_T::channels],
         const scale_T (&scale)[SCALES], const offset_T (&offset)[OFFSETS]) {
    static_assert(operand_types<a_T, b_T, CONFIG_T>::value, "add: an operand's type is not the one the model has");
    static_assert(aligned_operands<CONFIG_T>::value, "add: the shifts do not align the operands");
    typedef tail_sizes<CONFIG_T::rows * CONFIG_T::channels, CONFIG_T::channels> elements;
    #pragma HLS ARRAY_PARTITION variable=scale cyclic factor=CONFIG_T::scale_banks
    #pragma HLS ARRAY_PARTITION variable=offset cyclic factor=CONFIG_T::offset_banks
    for (int r = 0; r < CONFIG_T::rows; r++) {
        #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
        for (int c = 0; c < CONFIG_T::channels; c++) {
            #pragma HLS UNROLL
            const int element = r * CONFIG_T::channels + c;
            res[element] = finish<res_T, CONFIG_T, elements>(aligned_sum<CONFIG_T>(raw(a[element]), raw(b[element])),
                                                             element, c, scale, offset);
        }
    }
}

template <class a_T, class b_T, class res_T, typename CONFIG_T, class scale_T, int SCALES, class offset_T,
          int OFFSETS>
void multiply_elements(const a_T a[CONFIG_T::rows * CONFIG_T::channels],
                       const b_T b[CONFIG_T::rows * CONFIG_T::channels],
                       res_T res[CONFIG_T::rows * CONFIG_T::channels],
                       const scale_T (&scale)[SCALES], const offset_T (&offset)[OFFSETS]) {
    static_assert(operand_types<a_T, b_T, CONFIG_T>::value,
                  "multiply_elements: an operand's type is not the one the model has");
    typedef tail_sizes<CONFIG_T::rows * CONFIG_T::channels, CONFIG_T::channels> elements;
    #pragma HLS ARRAY_PARTITION variable=scale cyclic factor=CONFIG_T::scale_banks
    #pragma HLS ARRAY_PARTITION variable=offset cyclic factor=CONFIG_T::offset_banks
    for (int r = 0; r < CONFIG_T::rows; r++) {
        #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
        for (int c = 0; c < CONFIG_T::channels; c++) {
            #pragma HLS UNROLL
            const int element = r * CONFIG_T::channels + c;
            const typename integer<CONFIG_T::core_width>::type product =
                multiply<CONFIG_T::core_width>(raw(a[element]), raw(b[element]));
            res[element] = finish<res_T, CONFIG_T, elements>(product, element, c, scale, offset);
        }
    }
}

} // namespace hls4attn

#endif
