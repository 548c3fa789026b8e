// SPDX-License-Identifier: Apache-2.0
//
// Streaming exact integer LayerNorm (attn_norm_stream.h has the drawing and the cycles).
//
//      row --> statistics --> sums: Ex, Ex2 --> prepare --> factors: Ex, r, e --> affine --> row
//                       +-------------------- codes of x --------------------------^
//
// Formula:  that of attn_layernorm.h
// Cycles:   length * ceil(channels / lanes) a sequence, in each process.  prepare, with the integer root and the
//           division, is one iteration a row with ceil(channels / lanes) cycles between two: narrow lanes give the
//           tool as many cycles to share its adders over.
// Source: LayerNorm, arXiv 1607.06450, in integers.

#ifndef HLS4ATTN_LAYERNORM_STREAM_H_
#define HLS4ATTN_LAYERNORM_STREAM_H_

#include "attn_layernorm.h"
#include "attn_norm_stream.h"

namespace hls4attn {

// Words of the FIFOs: what a row's sums are, and what prepare makes of them.
template <typename CONFIG_T> struct layernorm_sums {
    typename layernorm_sizes<CONFIG_T>::total_t total;
    typename layernorm_sizes<CONFIG_T>::power_t power;
};

template <typename CONFIG_T> struct layernorm_factors {
    typename layernorm_sizes<CONFIG_T>::total_t total;
    typename layernorm_sizes<CONFIG_T>::inverse_t inverse;
    integer<8>::type e;

    template <class code_T, class gamma_T, class bias_T>
    typename integer<CONFIG_T::core_width>::type core(code_T x, gamma_T gamma, bias_T bias) const {
        #pragma HLS INLINE
        return layernorm_core<CONFIG_T>(x, total, inverse, int(e), gamma, bias);
    }
};

namespace norm_stages {

template <class in_T, class codes_T, typename CONFIG_T, int CYCLES>
void statistics(hls::stream<in_T> &data, hls::stream<codes_T> &codes, hls::stream<layernorm_sums<CONFIG_T> > &sums,
                const int length) {
    typedef layernorm_sizes<CONFIG_T> sizes;
    HLS4ATTN_LATENCY(CONFIG_T::latency)
    typename sizes::input_t x[CYCLES][CONFIG_T::lanes];
    #pragma HLS ARRAY_PARTITION variable=x complete dim=0
    layernorm_sums<CONFIG_T> sum;
    HLS4ATTN_PACK(sum)
    int row = 0, k = 0;
    for (int n = 0; n < CONFIG_T::rows * CYCLES && row != length; n++) {
        #pragma HLS PIPELINE II=1
        if (k == 0) {
            unpack(data.read(), x);
            sum.total = 0;
            sum.power = 0;
        }
        typename sizes::total_t total = 0; // of these lanes first: one adder is in the loop
        typename sizes::power_t power = 0;
        for (int i = 0; i < CONFIG_T::lanes; i++) {
            #pragma HLS UNROLL
            total += x[k][i];
            power += multiply<sizes::power>(x[k][i], x[k][i]);
        }
        sum.total += total;
        sum.power += power;
        k++;
        if (k == CYCLES) {
            const codes_T word = pack<codes_T>(x);
            HLS4ATTN_PACK(word)
            codes.write(word);
            sums.write(sum);
            row++;
            k = 0;
        }
        HLS4ATTN_CYCLES(1)
    }
}

template <typename CONFIG_T, int CYCLES>
void prepare(hls::stream<layernorm_sums<CONFIG_T> > &sums, hls::stream<layernorm_factors<CONFIG_T> > &factors,
             const int length) {
    HLS4ATTN_LATENCY(CONFIG_T::latency)
    for (int r = 0; r < CONFIG_T::rows && r != length; r++) {
        #pragma HLS PIPELINE II=CYCLES
        const layernorm_sums<CONFIG_T> sum = sums.read();
        layernorm_factors<CONFIG_T> made;
        HLS4ATTN_PACK(made)
        int e;
        made.total = sum.total;
        made.inverse = layernorm_inverse<CONFIG_T>(sum.total, sum.power, e);
        made.e = e;
        factors.write(made);
        HLS4ATTN_CYCLES(CYCLES)
    }
}

} // namespace norm_stages

template <class in_T, class res_T, typename CONFIG_T, class gamma_T, int GAMMAS, class bias_T, int BIASES,
          class scale_T, int SCALES, class offset_T, int OFFSETS, class length_T>
void layernorm(hls::stream<in_T> &data, hls::stream<res_T> &res, const gamma_T (&gamma)[GAMMAS],
               const bias_T (&bias)[BIASES], const scale_T (&scale)[SCALES], const offset_T (&offset)[OFFSETS],
               const length_T length) {
    static_assert(norm_legal<CONFIG_T, typename in_T::value_type, GAMMAS, BIASES>::value, "layernorm: see above");
    #pragma HLS DATAFLOW
    typedef norm_rows<in_T, res_T, CONFIG_T> sizes;
    typedef row<typename layernorm_sizes<CONFIG_T>::input_t, CONFIG_T::channels> codes_t;
    hls::stream<codes_t> codes("codes");
    #pragma HLS STREAM variable=codes depth=sizes::waiting
    HLS4ATTN_DEPTH(codes, sizes::waiting)
    hls::stream<layernorm_sums<CONFIG_T> > sums("sums");
    #pragma HLS STREAM variable=sums depth=2
    HLS4ATTN_DEPTH(sums, 2)
    hls::stream<layernorm_factors<CONFIG_T> > factors("factors");
    #pragma HLS STREAM variable=factors depth=2
    HLS4ATTN_DEPTH(factors, 2)
    HLS4ATTN_PROCESS(norm_stages::statistics<in_T, codes_t, CONFIG_T, sizes::cycles>(data, codes, sums, length))
    HLS4ATTN_PROCESS(norm_stages::prepare<CONFIG_T, sizes::cycles>(sums, factors, length))
    HLS4ATTN_PROCESS(norm_stages::affine<codes_t, layernorm_factors<CONFIG_T>, res_T, CONFIG_T, sizes::cycles>(
        codes, factors, res, gamma, bias, scale, offset, length))
    HLS4ATTN_JOIN
}

} // namespace hls4attn

#endif
