// SPDX-License-Identifier: Apache-2.0
//
// What the streaming normalisations share: three processes, each on a row of its own.
//
//      row --> statistics --+------------- codes ----------------> affine --> tail --> row
//                           +--> sums --> prepare --> factors ------^
//              row r + 2                  row r + 1                row r
//
// Formula:  those of attn_layernorm.h and attn_ailayernorm.h; the arithmetic is theirs
// Cycles:   length * ceil(channels / lanes) a sequence in each of the three, which overlap: rows follow each other
//           every ceil(channels / lanes) cycles.  prepare is one iteration a row with as many cycles between two.
// A row waits in the code FIFO while its sums pass through prepare: from the first cycle of statistics to the first of
// affine it takes cycles + 2 * (latency + 1), so 1 + ceil((latency + 2) / cycles) rows are under way.  statistics
// writes codes and sums of a row together, affine reads codes and factors together: with one word or more of each FIFO
// nothing can deadlock.
// Source: the passes over a row that every LayerNorm needs, pipelined.

#ifndef HLS4ATTN_NORM_STREAM_H_
#define HLS4ATTN_NORM_STREAM_H_

#include "attn_lanes.h"
#include "attn_norm.h"

namespace hls4attn {

template <class in_T, class res_T, typename CONFIG_T> struct norm_rows {
    static_assert(int(in_T::size) == CONFIG_T::channels && int(res_T::size) == CONFIG_T::channels,
                  "normalisation: rows of other size");
    static const int cycles = ceil_div(CONFIG_T::channels, CONFIG_T::lanes);
    static const int waiting = larger(2, 1 + ceil_div(CONFIG_T::latency + 2, cycles));
    typedef tail_sizes<CONFIG_T::rows * CONFIG_T::channels, CONFIG_T::channels> elements;
    typedef tail_banks<CONFIG_T, CONFIG_T::lanes, CONFIG_T::rows, CONFIG_T::channels> banks;
    typedef typename res_T::value_type value_t;
};

namespace norm_stages {

// Its factors bring the arithmetic of a channel: core(code, gamma, bias).
template <class codes_T, class factors_T, class res_T, typename CONFIG_T, int CYCLES, class gamma_T, int GAMMAS,
          class bias_T, int BIASES, class scale_T, int SCALES, class offset_T, int OFFSETS>
void affine(hls::stream<codes_T> &codes, hls::stream<factors_T> &factors, hls::stream<res_T> &res,
            const gamma_T (&gamma)[GAMMAS], const bias_T (&bias)[BIASES], const scale_T (&scale)[SCALES],
            const offset_T (&offset)[OFFSETS], const int length) {
    typedef norm_rows<codes_T, res_T, CONFIG_T> sizes;
    #pragma HLS ARRAY_PARTITION variable=gamma cyclic factor=CONFIG_T::lanes
    #pragma HLS ARRAY_PARTITION variable=bias cyclic factor=CONFIG_T::lanes
    #pragma HLS ARRAY_PARTITION variable=scale cyclic factor=sizes::banks::scale
    #pragma HLS ARRAY_PARTITION variable=offset cyclic factor=sizes::banks::offset
    HLS4ATTN_LATENCY(CONFIG_T::latency)
    typename codes_T::value_type x[CYCLES][CONFIG_T::lanes];
    #pragma HLS ARRAY_PARTITION variable=x complete dim=0
    typename sizes::value_t y[CYCLES][CONFIG_T::lanes];
    #pragma HLS ARRAY_PARTITION variable=y complete dim=0
    factors_T f;
    int row = 0, k = 0;
    for (int n = 0; n < CONFIG_T::rows * CYCLES && row != length; n++) {
        #pragma HLS PIPELINE II=1
        if (k == 0) {
            unpack(codes.read(), x);
            f = factors.read();
        }
        for (int i = 0; i < CONFIG_T::lanes; i++) {
            #pragma HLS UNROLL
            const int c = k * CONFIG_T::lanes + i;
            if (c < CONFIG_T::channels) {
                y[k][i] = finish<typename sizes::value_t, CONFIG_T, typename sizes::elements>(
                    f.core(x[k][i], gamma[c], bias[c]), row * CONFIG_T::channels + c, c, scale, offset);
            }
        }
        k++;
        if (k == CYCLES) {
            const res_T word = pack<res_T>(y);
            HLS4ATTN_PACK(word)
            res.write(word);
            row++;
            k = 0;
        }
        HLS4ATTN_CYCLES(1)
    }
}

} // namespace norm_stages
} // namespace hls4attn

#endif
