// SPDX-License-Identifier: Apache-2.0
//
// What the row-wise streaming kernels share: a row enters at once, and is worked on a few channels a cycle.
//
//      row --unpack--> codes[0][:]  codes[1][:]  ...  codes[cycles-1][:] --> kernel --> values[.][:] --pack--> row
//                      cycle 0      cycle 1           `lanes` channels each
//
// Formula:  cycles a row = ceil(channels / lanes); channel = cycle * lanes + lane, lanes beyond the last channel idle
// The two-dimensional registers make each lane a multiplexer of `cycles` inputs, not one of all channels.
// Source: time multiplexing of equal operations.

#ifndef HLS4ATTN_LANES_H_
#define HLS4ATTN_LANES_H_

#include "attn_stream.h"

namespace hls4attn {

template <class row_T> struct row_code {
    typedef typename integer<format_of<typename row_T::value_type>::carrier>::type type;
};

// Words between the processes of a kernel hold codes already.
inline int raw(int code) {
    #pragma HLS INLINE
    return code;
}
inline long long raw(long long code) {
    #pragma HLS INLINE
    return code;
}
template <int W> inline ap_int<W> raw(const ap_int<W> &code) {
    #pragma HLS INLINE
    return code;
}

// The codes of a row, those of a cycle together; zeros where there is no channel.
template <class row_T, class code_T, int CYCLES, int LANES>
inline void unpack(const row_T &word, code_T (&codes)[CYCLES][LANES]) {
    #pragma HLS INLINE
    static const int size = int(row_T::size);
    static_assert(LANES >= 1 && LANES <= size, "a row kernel takes 1 to all channels a cycle");
    for (int k = 0; k < CYCLES; k++) {
        #pragma HLS UNROLL
        for (int n = 0; n < LANES; n++) {
            #pragma HLS UNROLL
            const int c = k * LANES + n;
            codes[k][n] = c < size ? code_T(raw(word[c < size ? c : 0])) : code_T(0);
        }
    }
}

template <class row_T, class value_T, int CYCLES, int LANES>
inline row_T pack(const value_T (&values)[CYCLES][LANES]) {
    #pragma HLS INLINE
    row_T word;
    for (int c = 0; c < int(row_T::size); c++) {
        #pragma HLS UNROLL
        word[c] = values[c / LANES][c % LANES];
    }
    return word;
}

// Memories that a tail's constant is spread over so that each lane has one of its own: element = row * channels +
// cycle * lanes + lane.  Lanes that do not divide the channels shift from row to row: logic, or a memory a channel.
template <int BY, int LANES, int ROWS, int CHANNELS> struct lane_banks {
    static const int shifting = ROWS * CHANNELS <= 1024 ? ROWS * CHANNELS : CHANNELS;
    static const int value =
        BY <= by_scalar ? 1 : BY == by_element && CHANNELS % LANES != 0 ? shifting : LANES;
};

template <typename CONFIG_T, int LANES, int ROWS, int CHANNELS> struct tail_banks {
    static const int scale = lane_banks<CONFIG_T::scale_by, LANES, ROWS, CHANNELS>::value;
    static const int offset = lane_banks<CONFIG_T::offset_by, LANES, ROWS, CHANNELS>::value;
};

} // namespace hls4attn

#endif
