// SPDX-License-Identifier: Apache-2.0
//
// Streaming element-wise kernels: `lanes` channels of a row a cycle.
//
//      affine:            row ----> codes ------------------> tail --> values --> row
//      add:               row a --> codes --<< a_shift--( + )
//                         row b --> codes --<< b_shift----^ -----> tail --> values --> row
//      multiply_elements: row a --> codes --( x )-- codes <-- row b,  product --> tail --> values --> row
//
// Formula:  y = tail(x);   y = tail(a * 2^a_shift + b * 2^b_shift);   y = tail(a * b)
// Cycles:   length * ceil(channels / lanes) a sequence, one loop over rows and lanes that never drains.
// The rows of both operands are read in the same cycle: a residual waits in its FIFO.
// Source: plain fixed-point arithmetic.

#ifndef HLS4ATTN_ELEMENTWISE_STREAM_H_
#define HLS4ATTN_ELEMENTWISE_STREAM_H_

#include "attn_elementwise.h"
#include "attn_lanes.h"

namespace hls4attn {

// What the three kernels have in common.
template <class res_T, typename CONFIG_T> struct elementwise_rows {
    static_assert(int(res_T::size) == CONFIG_T::channels, "element-wise kernels: the result has rows of other size");
    static const int cycles = ceil_div(CONFIG_T::channels, CONFIG_T::lanes);
    typedef tail_sizes<CONFIG_T::rows * CONFIG_T::channels, CONFIG_T::channels> elements;
    typedef tail_banks<CONFIG_T, CONFIG_T::lanes, CONFIG_T::rows, CONFIG_T::channels> banks;
    typedef typename res_T::value_type value_t;
};

template <class in_T, class res_T, typename CONFIG_T, class scale_T, int SCALES, class offset_T, int OFFSETS>
void affine(hls::stream<in_T> &data, hls::stream<res_T> &res, const scale_T (&scale)[SCALES],
            const offset_T (&offset)[OFFSETS], const int length) {
    static_assert(same_row<in_T, CONFIG_T::channels, CONFIG_T::in_width, CONFIG_T::in_frac,
                           CONFIG_T::in_signed>::value, "affine: the input rows are not those the model has");
    typedef elementwise_rows<res_T, CONFIG_T> sizes;
    #pragma HLS ARRAY_PARTITION variable=scale cyclic factor=sizes::banks::scale
    #pragma HLS ARRAY_PARTITION variable=offset cyclic factor=sizes::banks::offset
    HLS4ATTN_LATENCY(CONFIG_T::latency)
    typename row_code<in_T>::type x[sizes::cycles][CONFIG_T::lanes];
    #pragma HLS ARRAY_PARTITION variable=x complete dim=0
    typename sizes::value_t y[sizes::cycles][CONFIG_T::lanes];
    #pragma HLS ARRAY_PARTITION variable=y complete dim=0
    int row = 0, k = 0;
    for (int n = 0; n < CONFIG_T::rows * sizes::cycles && row != length; n++) {
        #pragma HLS PIPELINE II=1
        if (k == 0) {
            unpack(data.read(), x);
        }
        for (int i = 0; i < CONFIG_T::lanes; i++) {
            #pragma HLS UNROLL
            const int c = k * CONFIG_T::lanes + i;
            if (c < CONFIG_T::channels) {
                y[k][i] = finish<typename sizes::value_t, CONFIG_T, typename sizes::elements>(
                    x[k][i], row * CONFIG_T::channels + c, c, scale, offset);
            }
        }
        k++;
        if (k == sizes::cycles) {
            const res_T word = pack<res_T>(y);
            HLS4ATTN_PACK(word)
            res.write(word);
            row++;
            k = 0;
        }
        HLS4ATTN_CYCLES(1)
    }
}

// The exact result of two codes, for the loop that both kernels of two operands run.
template <typename CONFIG_T> struct sum_of_codes {
    template <class a_T, class b_T> static typename integer<CONFIG_T::core_width>::type of(a_T a, b_T b) {
        #pragma HLS INLINE
        return aligned_sum<CONFIG_T>(a, b);
    }
};

template <typename CONFIG_T> struct product_of_codes {
    template <class a_T, class b_T> static typename integer<CONFIG_T::core_width>::type of(a_T a, b_T b) {
        #pragma HLS INLINE
        return multiply<CONFIG_T::core_width>(a, b);
    }
};

template <class operation_T, class a_T, class b_T, class res_T, typename CONFIG_T, class scale_T, int SCALES,
          class offset_T, int OFFSETS>
inline void combine(hls::stream<a_T> &a, hls::stream<b_T> &b, hls::stream<res_T> &res,
                    const scale_T (&scale)[SCALES], const offset_T (&offset)[OFFSETS], const int length) {
    #pragma HLS INLINE
    static_assert(operand_types<typename a_T::value_type, typename b_T::value_type, CONFIG_T>::value,
                  "add, multiply_elements: an operand's type is not the one the model has");
    static_assert(int(a_T::size) == CONFIG_T::channels && int(b_T::size) == CONFIG_T::channels,
                  "add, multiply_elements: an operand has rows of other size");
    typedef elementwise_rows<res_T, CONFIG_T> sizes;
    #pragma HLS ARRAY_PARTITION variable=scale cyclic factor=sizes::banks::scale
    #pragma HLS ARRAY_PARTITION variable=offset cyclic factor=sizes::banks::offset
    HLS4ATTN_LATENCY(CONFIG_T::latency)
    typename row_code<a_T>::type x[sizes::cycles][CONFIG_T::lanes];
    #pragma HLS ARRAY_PARTITION variable=x complete dim=0
    typename row_code<b_T>::type z[sizes::cycles][CONFIG_T::lanes];
    #pragma HLS ARRAY_PARTITION variable=z complete dim=0
    typename sizes::value_t y[sizes::cycles][CONFIG_T::lanes];
    #pragma HLS ARRAY_PARTITION variable=y complete dim=0
    int row = 0, k = 0;
    for (int n = 0; n < CONFIG_T::rows * sizes::cycles && row != length; n++) {
        #pragma HLS PIPELINE II=1
        if (k == 0) {
            unpack(a.read(), x);
            unpack(b.read(), z);
        }
        for (int i = 0; i < CONFIG_T::lanes; i++) {
            #pragma HLS UNROLL
            const int c = k * CONFIG_T::lanes + i;
            if (c < CONFIG_T::channels) {
                y[k][i] = finish<typename sizes::value_t, CONFIG_T, typename sizes::elements>(
                    operation_T::of(x[k][i], z[k][i]), row * CONFIG_T::channels + c, c, scale, offset);
            }
        }
        k++;
        if (k == sizes::cycles) {
            const res_T word = pack<res_T>(y);
            HLS4ATTN_PACK(word)
            res.write(word);
            row++;
            k = 0;
        }
        HLS4ATTN_CYCLES(1)
    }
}

template <class a_T, class b_T, class res_T, typename CONFIG_T, class scale_T, int SCALES, class offset_T,
          int OFFSETS>
void add(hls::stream<a_T> &a, hls::stream<b_T> &b, hls::stream<res_T> &res, const scale_T (&scale)[SCALES],
         const offset_T (&offset)[OFFSETS], const int length) {
    static_assert(aligned_operands<CONFIG_T>::value, "add: the shifts do not align the operands");
    combine<sum_of_codes<CONFIG_T>, a_T, b_T, res_T, CONFIG_T>(a, b, res, scale, offset, length);
}

template <class a_T, class b_T, class res_T, typename CONFIG_T, class scale_T, int SCALES, class offset_T,
          int OFFSETS>
void multiply_elements(hls::stream<a_T> &a, hls::stream<b_T> &b, hls::stream<res_T> &res,
                       const scale_T (&scale)[SCALES], const offset_T (&offset)[OFFSETS], const int length) {
    combine<product_of_codes<CONFIG_T>, a_T, b_T, res_T, CONFIG_T>(a, b, res, scale, offset, length);
}

} // namespace hls4attn

#endif
