// SPDX-License-Identifier: Apache-2.0
//
// Streaming sum over the rows of a sequence; with a scale in the tail it is mean pooling.
//
//      row --> codes --( + )--> acc[:] ----> tail --> values --> one row
//      each row          ^-------'           after the last row
//
// Formula:  y[c] = tail( sum_r x[r][c] )
// Cycles:   (length + 1) * ceil(channels / lanes) a sequence: the tail is one row more, `lanes` channels a cycle.
// The accumulator holds count times either extreme; the sum of a shorter sequence lies within.
// Source: plain summation; the mean's 1/count is a quantised constant of the model.

#ifndef HLS4ATTN_REDUCE_STREAM_H_
#define HLS4ATTN_REDUCE_STREAM_H_

#include "attn_lanes.h"
#include "attn_reduce.h"

namespace hls4attn {

template <typename CONFIG_T> struct reduce_rows {
    static const int cycles = ceil_div(CONFIG_T::channels, CONFIG_T::lanes);
    typedef tail_sizes<CONFIG_T::channels, CONFIG_T::channels> elements;
    typedef tail_banks<CONFIG_T, CONFIG_T::lanes, 1, CONFIG_T::channels> banks;
};

template <class in_T, class res_T, typename CONFIG_T, class scale_T, int SCALES, class offset_T, int OFFSETS>
void reduce_sum(hls::stream<in_T> &data, hls::stream<res_T> &res, const scale_T (&scale)[SCALES],
                const offset_T (&offset)[OFFSETS], const int length) {
    static_assert(CONFIG_T::outer == 1 && CONFIG_T::inner == CONFIG_T::channels,
                  "reduce_sum: a stream is summed over its rows only");
    static_assert(same_row<in_T, CONFIG_T::channels, CONFIG_T::in_width, CONFIG_T::in_frac,
                           CONFIG_T::in_signed>::value, "reduce_sum: the input rows are not those the model has");
    static_assert(int(res_T::size) == CONFIG_T::channels, "reduce_sum: as many sums as channels");
    typedef reduce_rows<CONFIG_T> sizes;
    static const int cycles = sizes::cycles;
    #pragma HLS ARRAY_PARTITION variable=scale cyclic factor=sizes::banks::scale
    #pragma HLS ARRAY_PARTITION variable=offset cyclic factor=sizes::banks::offset
    HLS4ATTN_LATENCY(CONFIG_T::latency)
    typename row_code<in_T>::type x[cycles][CONFIG_T::lanes];
    #pragma HLS ARRAY_PARTITION variable=x complete dim=0
    typename integer<CONFIG_T::core_width>::type acc[cycles][CONFIG_T::lanes];
    #pragma HLS ARRAY_PARTITION variable=acc complete dim=0
    typename res_T::value_type y[cycles][CONFIG_T::lanes];
    #pragma HLS ARRAY_PARTITION variable=y complete dim=0
    int row = 0, k = 0;
    for (int n = 0; n < (CONFIG_T::count + 1) * cycles && row != length + 1; n++) {
        #pragma HLS PIPELINE II=1
        if (k == 0 && row < length) {
            unpack(data.read(), x);
        }
        for (int i = 0; i < CONFIG_T::lanes; i++) {
            #pragma HLS UNROLL
            const int c = k * CONFIG_T::lanes + i;
            if (row < length) {
                typename integer<CONFIG_T::core_width>::type sum = x[k][i];
                if (row != 0) {
                    sum += acc[k][i];
                }
                acc[k][i] = sum;
            } else if (c < CONFIG_T::channels) {
                y[k][i] = finish<typename res_T::value_type, CONFIG_T, typename sizes::elements>(acc[k][i], c, c, scale,
                                                                                                 offset);
            }
        }
        k++;
        if (k == cycles) {
            if (row == length) {
                const res_T word = pack<res_T>(y);
                HLS4ATTN_PACK(word)
                res.write(word);
            }
            row++;
            k = 0;
        }
        HLS4ATTN_CYCLES(1)
    }
}

} // namespace hls4attn

#endif
