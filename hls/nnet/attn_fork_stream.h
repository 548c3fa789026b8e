// SPDX-License-Identifier: Apache-2.0
//
// One stream, several readers: every row goes to each of two to eight streams.
//
//      row --> fork --+--> row        a tensor with two readers: a residual and its branch
//                     +--> row        q, k and v of one attention
//                     +--> ...
//
// Formula:  y_n[r] = x[r]
// Cycles:   length a sequence, a row every cycle.
// A FIFO has one reader; each copy has a FIFO of its own, as deep as its reader is late.
// One function for each number of copies: `length` comes last, behind which no parameter pack can be deduced, and every
// write stands by its stream's name.
// Source: Kahn process networks.

#ifndef HLS4ATTN_FORK_STREAM_H_
#define HLS4ATTN_FORK_STREAM_H_

#include "attn_stream.h"

namespace hls4attn {

struct fork_config {
    static const int rows = 1;
    static const int channels = 1;
    static const int latency = 1;
};

template <class row_T, typename CONFIG_T>
void fork(hls::stream<row_T> &data, hls::stream<row_T> &a, hls::stream<row_T> &b, const int length) {
    static_assert(int(row_T::size) == CONFIG_T::channels, "fork: rows of other size");
    HLS4ATTN_LATENCY(CONFIG_T::latency)
    for (int r = 0; r < CONFIG_T::rows && r != length; r++) {
        #pragma HLS PIPELINE II=1
        const row_T word = data.read();
        HLS4ATTN_PACK(word)
        a.write(word);
        b.write(word);
        HLS4ATTN_CYCLES(1)
    }
}

template <class row_T, typename CONFIG_T>
void fork(hls::stream<row_T> &data, hls::stream<row_T> &a, hls::stream<row_T> &b, hls::stream<row_T> &c,
          const int length) {
    static_assert(int(row_T::size) == CONFIG_T::channels, "fork: rows of other size");
    HLS4ATTN_LATENCY(CONFIG_T::latency)
    for (int r = 0; r < CONFIG_T::rows && r != length; r++) {
        #pragma HLS PIPELINE II=1
        const row_T word = data.read();
        HLS4ATTN_PACK(word)
        a.write(word);
        b.write(word);
        c.write(word);
        HLS4ATTN_CYCLES(1)
    }
}

template <class row_T, typename CONFIG_T>
void fork(hls::stream<row_T> &data, hls::stream<row_T> &a, hls::stream<row_T> &b, hls::stream<row_T> &c,
          hls::stream<row_T> &d, const int length) {
    static_assert(int(row_T::size) == CONFIG_T::channels, "fork: rows of other size");
    HLS4ATTN_LATENCY(CONFIG_T::latency)
    for (int r = 0; r < CONFIG_T::rows && r != length; r++) {
        #pragma HLS PIPELINE II=1
        const row_T word = data.read();
        HLS4ATTN_PACK(word)
        a.write(word);
        b.write(word);
        c.write(word);
        d.write(word);
        HLS4ATTN_CYCLES(1)
    }
}

template <class row_T, typename CONFIG_T>
void fork(hls::stream<row_T> &data, hls::stream<row_T> &a, hls::stream<row_T> &b, hls::stream<row_T> &c,
          hls::stream<row_T> &d, hls::stream<row_T> &e, const int length) {
    static_assert(int(row_T::size) == CONFIG_T::channels, "fork: rows of other size");
    HLS4ATTN_LATENCY(CONFIG_T::latency)
    for (int r = 0; r < CONFIG_T::rows && r != length; r++) {
        #pragma HLS PIPELINE II=1
        const row_T word = data.read();
        HLS4ATTN_PACK(word)
        a.write(word);
        b.write(word);
        c.write(word);
        d.write(word);
        e.write(word);
        HLS4ATTN_CYCLES(1)
    }
}

template <class row_T, typename CONFIG_T>
void fork(hls::stream<row_T> &data, hls::stream<row_T> &a, hls::stream<row_T> &b, hls::stream<row_T> &c,
          hls::stream<row_T> &d, hls::stream<row_T> &e, hls::stream<row_T> &f, const int length) {
    static_assert(int(row_T::size) == CONFIG_T::channels, "fork: rows of other size");
    HLS4ATTN_LATENCY(CONFIG_T::latency)
    for (int r = 0; r < CONFIG_T::rows && r != length; r++) {
        #pragma HLS PIPELINE II=1
        const row_T word = data.read();
        HLS4ATTN_PACK(word)
        a.write(word);
        b.write(word);
        c.write(word);
        d.write(word);
        e.write(word);
        f.write(word);
        HLS4ATTN_CYCLES(1)
    }
}

template <class row_T, typename CONFIG_T>
void fork(hls::stream<row_T> &data, hls::stream<row_T> &a, hls::stream<row_T> &b, hls::stream<row_T> &c,
          hls::stream<row_T> &d, hls::stream<row_T> &e, hls::stream<row_T> &f, hls::stream<row_T> &g,
          const int length) {
    static_assert(int(row_T::size) == CONFIG_T::channels, "fork: rows of other size");
    HLS4ATTN_LATENCY(CONFIG_T::latency)
    for (int r = 0; r < CONFIG_T::rows && r != length; r++) {
        #pragma HLS PIPELINE II=1
        const row_T word = data.read();
        HLS4ATTN_PACK(word)
        a.write(word);
        b.write(word);
        c.write(word);
        d.write(word);
        e.write(word);
        f.write(word);
        g.write(word);
        HLS4ATTN_CYCLES(1)
    }
}

template <class row_T, typename CONFIG_T>
void fork(hls::stream<row_T> &data, hls::stream<row_T> &a, hls::stream<row_T> &b, hls::stream<row_T> &c,
          hls::stream<row_T> &d, hls::stream<row_T> &e, hls::stream<row_T> &f, hls::stream<row_T> &g,
          hls::stream<row_T> &h, const int length) {
    static_assert(int(row_T::size) == CONFIG_T::channels, "fork: rows of other size");
    HLS4ATTN_LATENCY(CONFIG_T::latency)
    for (int r = 0; r < CONFIG_T::rows && r != length; r++) {
        #pragma HLS PIPELINE II=1
        const row_T word = data.read();
        HLS4ATTN_PACK(word)
        a.write(word);
        b.write(word);
        c.write(word);
        d.write(word);
        e.write(word);
        f.write(word);
        g.write(word);
        h.write(word);
        HLS4ATTN_CYCLES(1)
    }
}

} // namespace hls4attn

#endif
