// SPDX-License-Identifier: Apache-2.0
//
// A streaming design between AXI4-Streams: words of 32 bits in, rows of codes, rows of results, words out.
//
//      in_r --> axis_unpack --> rows --> design --> results --> axis_pack --> out_r
//      TDATA 32      |                                              ^         TDATA 32
//      TLAST         +--> ends: one flag a sample, the TLAST -------+         TKEEP all ones
//                         of its last word                                    TLAST of the sample's last word
//
//      a sample:   code 0 | code 1 | ... | last code | zero bits to a whole word       BITS bits a code, low ones first
//
// The flag of a sample is written after its last row and read for its last word.  Whoever waits for a flag has all rows
// of its sample under way, and whoever waits to write one has samples ahead of it whose flags are there: the flags
// cannot lock the design, and a FIFO that holds as many as there are samples under way never stops it.
// Formula:  code c of a sample is bits BITS (c mod L) .. BITS (c mod L + 1) - 1 of word floor(c / L),  L = 32 / BITS
// Both boxes keep what is left of a word or of a row, and take the next one when that is not enough:
// Cycles a sample:  max(words, rows), packing one more if the last row fills a word and begins another
// Source: AMBA AXI4-Stream protocol, ARM IHI 0051A.

#ifndef HLS4ATTN_AXIS_H_
#define HLS4ATTN_AXIS_H_

#include "attn_lanes.h"

#if defined(__VITIS_HLS__) || defined(HLS4ATTN_SIM_STREAM_H_)
#include <ap_axi_sdata.h>

namespace hls4attn {
// A word with USER bits of TUSER.
template <int USER> struct axis {
    typedef ap_axiu<32, USER, 0, 0> word;
};
} // namespace hls4attn

#else // Vivado HLS takes the channels that a struct has by their names; its own word has none of 0 bits

namespace hls4attn {
template <int USER> struct axis_word {
    ap_uint<32> data;
    ap_uint<4> keep;
    ap_uint<4> strb;
    ap_uint<1> last;
    ap_uint<USER> user;
};
template <> struct axis_word<0> {
    ap_uint<32> data;
    ap_uint<4> keep;
    ap_uint<4> strb;
    ap_uint<1> last;
};
template <int USER> struct axis {
    typedef axis_word<USER> word;
};
} // namespace hls4attn

#endif

namespace hls4attn {

struct axis_config {
    static const int rows = 1;     // of a sample
    static const int channels = 1; // of a row
    static const int bits = 8;     // of a code on the port
    static const int latency = 2;  // a register at each end
};

// Whether a packet ends with a sample.
struct axis_flag {
    ap_uint<1> last;
};

template <typename CONFIG_T> struct axis_sizes {
    static_assert(CONFIG_T::bits == 8 || CONFIG_T::bits == 16 || CONFIG_T::bits == 32,
                  "axis: codes of 8, 16 or 32 bits");
    static_assert(1LL * CONFIG_T::rows * CONFIG_T::channels <= 1 << 24, "axis: a sample of 2^24 codes or less");
    static const int lanes = 32 / CONFIG_T::bits; // codes of a word
    static const int channels = CONFIG_T::channels, rows = CONFIG_T::rows;
    static const int words = ceil_div(rows * channels, lanes);
    static const bool wide = channels >= lanes;
    static const int before = (rows - 1) * channels / lanes; // words that are full before the last row
    static const int in_steps = wide ? words : rows;
    static const int out_steps = wide ? words : rows + words - before - 1;
    static const int held = channels + lanes - 1;
    static const bool aligned = // rows begin with a word, or words with a row
        channels % lanes == 0 || lanes % channels == 0;
    typedef ap_uint<CONFIG_T::bits> code;
};

// The value with a code, and the code of a value, in the low bits of a code of the port.
template <class value_T, int BITS> inline value_T axis_value(const ap_uint<BITS> &code) {
    #pragma HLS INLINE
    static_assert(format_of<value_T>::width <= BITS, "axis: a code has more bits than its place on the port");
    return from_raw<value_T>(typename integer<BITS + 1>::type(code)); // its low bits
}
template <int BITS, class value_T> inline ap_uint<BITS> axis_code(const value_T &value) {
    #pragma HLS INLINE
    static_assert(format_of<value_T>::width <= BITS, "axis: a code has more bits than its place on the port");
    return ap_uint<BITS>(raw(value));
}

template <class word_T, class row_T, typename CONFIG_T>
void axis_unpack(hls::stream<word_T> &port, hls::stream<row_T> &rows, hls::stream<axis_flag> &ends,
                 const bool comes = true) {
    typedef axis_sizes<CONFIG_T> sizes;
    static_assert(int(row_T::size) == sizes::channels, "axis: the rows are not the ones of the port");
    HLS4ATTN_LATENCY(CONFIG_T::latency)
    typename sizes::code held[sizes::held]; // codes that wait for the rest of their row
    #pragma HLS ARRAY_PARTITION variable=held complete
    int have = 0;
    ap_uint<1> last = 0;
    for (int n = 0; n < sizes::in_steps && comes; n++) {
        #pragma HLS PIPELINE II=1
        if (have < sizes::channels) {
            const word_T word = port.read();
            typename sizes::code codes[sizes::lanes];
            #pragma HLS ARRAY_PARTITION variable=codes complete
            for (int l = 0; l < sizes::lanes; l++) {
                #pragma HLS UNROLL
                codes[l] = word.data.range((l + 1) * CONFIG_T::bits - 1, l * CONFIG_T::bits);
            }
            for (int c = 0; c < sizes::held; c++) {
                #pragma HLS UNROLL
                const int lane = (sizes::aligned ? c : c - have) & (sizes::lanes - 1);
                if (c >= have && c < have + sizes::lanes) {
                    held[c] = codes[lane];
                }
            }
            have += sizes::lanes;
            last = word.last;
        }
        if (have >= sizes::channels) {
            row_T row;
            HLS4ATTN_PACK(row)
            for (int c = 0; c < sizes::channels; c++) {
                #pragma HLS UNROLL
                row[c] = axis_value<typename row_T::value_type>(held[c]);
            }
            rows.write(row);
            have -= sizes::channels;
            for (int c = 0; c < sizes::lanes - 1; c++) {
                #pragma HLS UNROLL
                held[c] = held[c + sizes::channels];
            }
        }
        if (n == sizes::in_steps - 1) {
            axis_flag flag;
            HLS4ATTN_PACK(flag)
            flag.last = last;
            ends.write(flag);
        }
        HLS4ATTN_CYCLES(1)
    }
}

template <class row_T, class word_T, typename CONFIG_T>
void axis_pack(hls::stream<row_T> &rows, hls::stream<axis_flag> &ends, hls::stream<word_T> &port,
               const bool comes = true) {
    typedef axis_sizes<CONFIG_T> sizes;
    static_assert(int(row_T::size) == sizes::channels, "axis: the rows are not the ones of the port");
    HLS4ATTN_LATENCY(CONFIG_T::latency)
    typename sizes::code held[sizes::held]; // codes that wait for the rest of their word
    #pragma HLS ARRAY_PARTITION variable=held complete
    int have = 0, row = 0;
    for (int n = 0; n < sizes::out_steps && comes; n++) {
        #pragma HLS PIPELINE II=1
        if (have < sizes::lanes && row != sizes::rows) {
            const row_T values = rows.read();
            for (int at = 0; at < sizes::lanes; at++) {
                #pragma HLS UNROLL
                if ((!sizes::aligned || at % sizes::channels == 0) && at == have) { // the others fold away
                    for (int c = 0; c < sizes::channels; c++) {
                        #pragma HLS UNROLL
                        held[at + c] = axis_code<CONFIG_T::bits>(values[c]);
                    }
                }
            }
            have += sizes::channels;
            row++;
        }
        if (have >= sizes::lanes || row == sizes::rows) {
            word_T word;
            word.keep = -1;
            word.strb = -1;
            word.last = 0;
            for (int l = 0; l < sizes::lanes; l++) {
                #pragma HLS UNROLL
                word.data.range((l + 1) * CONFIG_T::bits - 1, l * CONFIG_T::bits) =
                    l < have ? held[l] : typename sizes::code(0);
            }
            if (n == sizes::out_steps - 1) {
                word.last = ends.read().last;
            }
            port.write(word);
            have = have > sizes::lanes ? have - sizes::lanes : 0;
            for (int c = 0; c < sizes::channels - 1; c++) {
                #pragma HLS UNROLL
                held[c] = held[c + sizes::lanes];
            }
        }
        HLS4ATTN_CYCLES(1)
    }
}

} // namespace hls4attn

#endif
