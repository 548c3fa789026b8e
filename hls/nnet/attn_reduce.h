// SPDX-License-Identifier: Apache-2.0
//
// Sum over neighbouring axes; with a scale in the tail it is mean pooling.
//
//      x[o][0][i] ... x[o][count-1][i] --> ( + ) --> acc[i] --> tail --> y[o][i]
//                                                    core_width
//
// Formula:  y[o][i] = tail( sum_c x[o][c][i] )
// One of the `count` slices enters every reuse_factor cycles; the accumulator holds count times either extreme.
// Source: plain summation; the mean's 1/count is a quantised constant of the model.

#ifndef HLS4ATTN_REDUCE_H_
#define HLS4ATTN_REDUCE_H_

#include "attn_tail.h"

namespace hls4attn {

struct reduce_config : tail_config {
    static const int outer = 1;
    static const int count = 1;
    static const int inner = 1;
    static const int channels = 1; // last axis of the result
    static const int in_width = 8;
    static const int in_frac = 0;
    static const bool in_signed = true;
    static const int lanes = 1; // streaming: channels of a cycle
    static const int latency = 1;
};

template <class data_T, class res_T, typename CONFIG_T, class scale_T, int SCALES, class offset_T, int OFFSETS>
void reduce_sum(const data_T data[CONFIG_T::outer * CONFIG_T::count * CONFIG_T::inner],
                res_T res[CONFIG_T::outer * CONFIG_T::inner],
                const scale_T (&scale)[SCALES], const offset_T (&offset)[OFFSETS]) {
    static_assert(same_format<data_T, CONFIG_T::in_width, CONFIG_T::in_frac, CONFIG_T::in_signed>::value,
                  "reduce_sum: the input type is not the one the model has");
    typedef tail_sizes<CONFIG_T::outer * CONFIG_T::inner, CONFIG_T::channels> elements;
    #pragma HLS ARRAY_PARTITION variable=scale cyclic factor=CONFIG_T::scale_banks
    #pragma HLS ARRAY_PARTITION variable=offset cyclic factor=CONFIG_T::offset_banks
    for (int o = 0; o < CONFIG_T::outer; o++) {
        typename integer<CONFIG_T::core_width>::type acc[CONFIG_T::inner];
        #pragma HLS ARRAY_PARTITION variable=acc complete
        for (int i = 0; i < CONFIG_T::inner; i++) {
            #pragma HLS UNROLL
            acc[i] = 0;
        }
        for (int c = 0; c < CONFIG_T::count; c++) {
            #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
            for (int i = 0; i < CONFIG_T::inner; i++) {
                #pragma HLS UNROLL
                acc[i] += raw(data[(o * CONFIG_T::count + c) * CONFIG_T::inner + i]);
            }
        }
        for (int i = 0; i < CONFIG_T::inner; i++) {
            #pragma HLS UNROLL
            const int element = o * CONFIG_T::inner + i;
            const int channel = element % CONFIG_T::channels;
            res[element] = finish<res_T, CONFIG_T, elements>(acc[i], element, channel, scale, offset);
        }
    }
}

} // namespace hls4attn

#endif
