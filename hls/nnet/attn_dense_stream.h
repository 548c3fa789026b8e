// SPDX-License-Identifier: Apache-2.0
//
// Streaming dense layer: a block of in_block x out_block weights a cycle.
//
//      row --> x[0] | x[1] | ...  (in_block codes each)
//                 |
//                 v                           out_block sums
//      weights[block] --> in_block * out_block multipliers --( + )--> acc[:] --> tail --> y[0] | y[1] | ... --> row
//                                                                      core_width         (out_block values each)
//
// Formula:  y[r][o] = tail( sum_i x[r][i] * w[i][o] )
// Order:    rows, output blocks, input blocks: one loop of length * cycles iterations that never drains, where
//           cycles = ceil(n_in / in_block) * ceil(n_out / out_block).
// Cycles:   length * cycles a sequence, a row every `cycles`; the first result row `latency` after its last iteration.
// Weights:  NOT the order of the io_parallel kernel.  They come block by block in the order of the loop, within a
//           block [in][out], zeros where a block goes beyond the matrix (block_order of hls/stream/blocks.py): the
//           ROM is one word a block, read at one address a cycle, whatever the sizes.
// Source: blocked matrix multiplication.

#ifndef HLS4ATTN_DENSE_STREAM_H_
#define HLS4ATTN_DENSE_STREAM_H_

#include "attn_dense.h"
#include "attn_lanes.h"

namespace hls4attn {

template <typename CONFIG_T> struct dense_blocks {
    static const int in = ceil_div(CONFIG_T::n_in, CONFIG_T::in_block);
    static const int out = ceil_div(CONFIG_T::n_out, CONFIG_T::out_block);
    static const int cycles = in * out;
    static const int size = CONFIG_T::in_block * CONFIG_T::out_block;
    typedef tail_banks<CONFIG_T, CONFIG_T::out_block, CONFIG_T::rows, CONFIG_T::n_out> banks;
};

template <class in_T, class res_T, typename CONFIG_T, class weight_T, int WEIGHTS, class scale_T, int SCALES,
          class offset_T, int OFFSETS>
void dense(hls::stream<in_T> &data, hls::stream<res_T> &res, const weight_T (&weights)[WEIGHTS],
           const scale_T (&scale)[SCALES], const offset_T (&offset)[OFFSETS], const int length) {
    typedef dense_blocks<CONFIG_T> blocks;
    static_assert(same_row<in_T, CONFIG_T::n_in, CONFIG_T::in_width, CONFIG_T::in_frac, CONFIG_T::in_signed>::value,
                  "dense: the input rows are not those the model has");
    static_assert(int(res_T::size) == CONFIG_T::n_out, "dense: n_out values a row");
    static_assert((CONFIG_T::n_in == 1 || CONFIG_T::in_stride == 1) &&
                      (CONFIG_T::rows == 1 || CONFIG_T::row_stride == CONFIG_T::n_in),
                  "dense: a stream cannot be read transposed");
    static_assert(WEIGHTS == blocks::cycles * blocks::size, "dense: whole blocks of weights, filled up with zeros");
    typedef tail_sizes<CONFIG_T::rows * CONFIG_T::n_out, CONFIG_T::n_out> elements;
    #pragma HLS ARRAY_RESHAPE variable=weights cyclic factor=blocks::size
    #pragma HLS ARRAY_PARTITION variable=scale cyclic factor=blocks::banks::scale
    #pragma HLS ARRAY_PARTITION variable=offset cyclic factor=blocks::banks::offset
    HLS4ATTN_LATENCY(CONFIG_T::latency)
    typename row_code<in_T>::type x[blocks::in][CONFIG_T::in_block];
    #pragma HLS ARRAY_PARTITION variable=x complete dim=0
    typename integer<CONFIG_T::core_width>::type acc[CONFIG_T::out_block];
    #pragma HLS ARRAY_PARTITION variable=acc complete
    typename res_T::value_type y[blocks::out][CONFIG_T::out_block];
    #pragma HLS ARRAY_PARTITION variable=y complete dim=0
    int row = 0, out = 0, in = 0, block = 0;
    for (int n = 0; n < CONFIG_T::rows * blocks::cycles && row != length; n++) {
        #pragma HLS PIPELINE II=1
        if (block == 0) {
            unpack(data.read(), x);
        }
        for (int o = 0; o < CONFIG_T::out_block; o++) {
            #pragma HLS UNROLL
            typename integer<CONFIG_T::core_width>::type sum = 0; // of the block first: one adder is in the loop
            for (int i = 0; i < CONFIG_T::in_block; i++) {
                #pragma HLS UNROLL
                sum += dense_term<CONFIG_T>(x[in][i], weights[block * blocks::size + i * CONFIG_T::out_block + o]);
            }
            if (in != 0) {
                sum += acc[o];
            }
            acc[o] = sum;
            const int channel = out * CONFIG_T::out_block + o;
            if (in == blocks::in - 1 && channel < CONFIG_T::n_out) {
                y[out][o] = finish<typename res_T::value_type, CONFIG_T, elements>(
                    sum, row * CONFIG_T::n_out + channel, channel, scale, offset);
            }
        }
        if (block == blocks::cycles - 1) {
            const res_T word = pack<res_T>(y);
            HLS4ATTN_PACK(word)
            res.write(word);
            row++;
        }
        block = block == blocks::cycles - 1 ? 0 : block + 1;
        if (in == blocks::in - 1) {
            in = 0;
            out = out == blocks::out - 1 ? 0 : out + 1;
        } else {
            in++;
        }
        HLS4ATTN_CYCLES(1)
    }
}

} // namespace hls4attn

#endif
