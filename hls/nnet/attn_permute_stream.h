// SPDX-License-Identifier: Apache-2.0
//
// Streaming transpose: a whole tensor is collected, then leaves in another order.
//
//      row --> load --> ping-pong bank [in_rows][in_channels] --> emit --> tail --> row
//                       registers
//
// Formula:  y[a][b][c][d] = tail( x at the strides of the permutation ),  a < n0, b < n1, c < n2, d < n3
// Cycles:   load in_rows, emit length a sequence; both at a time, on different sequences.
// Every row is read and written at once, at any permutation: the bank is registers, of at most 1024 elements, which is
// where the vendors' tools refuse.  `length` counts result rows; input rows are always all read.
// Source: index arithmetic.

#ifndef HLS4ATTN_PERMUTE_STREAM_H_
#define HLS4ATTN_PERMUTE_STREAM_H_

#include "attn_lanes.h"
#include "attn_permute.h"

namespace hls4attn {
namespace permute_stages {

// Which element of the input is element `at` of the result.
template <typename CONFIG_T> constexpr int source(int at) {
    return at / (CONFIG_T::n1 * CONFIG_T::n2 * CONFIG_T::n3) * CONFIG_T::s0 +
           at / (CONFIG_T::n2 * CONFIG_T::n3) % CONFIG_T::n1 * CONFIG_T::s1 +
           at / CONFIG_T::n3 % CONFIG_T::n2 * CONFIG_T::s2 + at % CONFIG_T::n3 * CONFIG_T::s3;
}

template <class in_T, typename CONFIG_T> struct bank {
    typedef typename row_code<in_T>::type type[CONFIG_T::in_rows][CONFIG_T::in_channels];
};

template <class in_T, typename CONFIG_T>
void load(hls::stream<in_T> &data, typename bank<in_T, CONFIG_T>::type &values) {
    HLS4ATTN_LATENCY(CONFIG_T::latency)
    for (int r = 0; r < CONFIG_T::in_rows; r++) {
        #pragma HLS PIPELINE II=1
        const in_T word = data.read();
        for (int c = 0; c < CONFIG_T::in_channels; c++) {
            #pragma HLS UNROLL
            values[r][c] = raw(word[c]);
        }
        HLS4ATTN_CYCLES(1)
    }
}

template <class in_T, class res_T, typename CONFIG_T, class scale_T, int SCALES, class offset_T, int OFFSETS>
void emit(const typename bank<in_T, CONFIG_T>::type &values, hls::stream<res_T> &res,
          const scale_T (&scale)[SCALES], const offset_T (&offset)[OFFSETS], const int length) {
    #pragma HLS ARRAY_PARTITION variable=scale complete
    #pragma HLS ARRAY_PARTITION variable=offset complete
    HLS4ATTN_LATENCY(CONFIG_T::latency)
    typedef tail_sizes<CONFIG_T::out_rows * CONFIG_T::out_channels, CONFIG_T::n3> elements;
    for (int r = 0; r < CONFIG_T::out_rows && r != length; r++) {
        #pragma HLS PIPELINE II=1
        typename row_code<in_T>::type x[CONFIG_T::out_channels];
        #pragma HLS ARRAY_PARTITION variable=x complete
        for (int k = 0; k < CONFIG_T::out_rows; k++) { // unrolled: every index is a constant, a lane one multiplexer
            #pragma HLS UNROLL
            if (k == r) {
                for (int c = 0; c < CONFIG_T::out_channels; c++) {
                    #pragma HLS UNROLL
                    const int from = source<CONFIG_T>(k * CONFIG_T::out_channels + c);
                    x[c] = values[from / CONFIG_T::in_channels][from % CONFIG_T::in_channels];
                }
            }
        }
        res_T word;
        HLS4ATTN_PACK(word)
        for (int c = 0; c < CONFIG_T::out_channels; c++) {
            #pragma HLS UNROLL
            const int element = r * CONFIG_T::out_channels + c;
            const int channel = (CONFIG_T::out_channels % CONFIG_T::n3 == 0 ? c : element) % CONFIG_T::n3;
            word[c] = finish<typename res_T::value_type, CONFIG_T, elements>(x[c], element, channel, scale, offset);
        }
        res.write(word);
        HLS4ATTN_CYCLES(1)
    }
}

} // namespace permute_stages

template <class in_T, class res_T, typename CONFIG_T, class scale_T, int SCALES, class offset_T, int OFFSETS,
          class length_T>
void permute(hls::stream<in_T> &data, hls::stream<res_T> &res, const scale_T (&scale)[SCALES],
             const offset_T (&offset)[OFFSETS], const length_T length) {
    static_assert(same_row<in_T, CONFIG_T::in_channels, CONFIG_T::in_width, CONFIG_T::in_frac,
                           CONFIG_T::in_signed>::value, "permute: the input rows are not those the model has");
    static_assert(int(res_T::size) == CONFIG_T::out_channels, "permute: the result has rows of other size");
    static const int size = CONFIG_T::in_rows * CONFIG_T::in_channels;
    static_assert(size == CONFIG_T::n0 * CONFIG_T::n1 * CONFIG_T::n2 * CONFIG_T::n3 &&
                      size == CONFIG_T::out_rows * CONFIG_T::out_channels,
                  "permute: both sides have the same elements");
    static_assert(size <= 1024, "permute: 1024 elements or less in a stream");
    #pragma HLS DATAFLOW
    typedef typename permute_stages::bank<in_T, CONFIG_T>::type bank_t;
    HLS4ATTN_BANK(bank_t, values)
    #pragma HLS ARRAY_PARTITION variable=values complete dim=0
    HLS4ATTN_PROCESS(permute_stages::load<in_T, CONFIG_T>(data, HLS4ATTN_FILL(values)))
    HLS4ATTN_PROCESS(permute_stages::emit<in_T, res_T, CONFIG_T>(HLS4ATTN_DRAIN(values), res, scale, offset, length))
    HLS4ATTN_JOIN
}

} // namespace hls4attn

#endif
