// SPDX-License-Identifier: Apache-2.0
//
// Streaming AILayerNorm (attn_norm_stream.h has the drawing and the cycles).
//
//      row --> statistics --> sums: Ex, Ex2 --> prepare --> factors: mu, v, e --> affine --> row
//                       +---------------- x_c << a_c, quantised -------------------^
//
// Formula:  that of attn_ailayernorm.h
// Cycles:   length * ceil(channels / lanes) a sequence, in each process; prepare is one iteration a row with
//           ceil(channels / lanes) cycles between two.
// The codes that wait are quantised and shifted by their channel's factor: affine needs neither again.
// Source: SOLE, arXiv 2510.17189, figure 5, whose two stages statistics and affine are.

#ifndef HLS4ATTN_AILAYERNORM_STREAM_H_
#define HLS4ATTN_AILAYERNORM_STREAM_H_

#include "attn_ailayernorm.h"
#include "attn_norm_stream.h"

namespace hls4attn {

// Words of the FIFOs: what a row's sums are, and what prepare makes of them.
template <typename CONFIG_T> struct ailn_sums {
    typename ailn_sizes<CONFIG_T>::total_t total;
    typename ailn_sizes<CONFIG_T>::power_t power;
};

template <typename CONFIG_T> struct ailn_factors {
    typename ailn_sizes<CONFIG_T>::mean_t mean;
    typename ailn_sizes<CONFIG_T>::rsqrt_t v;
    integer<8>::type e;

    template <class code_T, class gamma_T, class bias_T>
    typename integer<CONFIG_T::core_width>::type core(code_T x, gamma_T gamma, bias_T bias) const {
        #pragma HLS INLINE
        return ailn_core<CONFIG_T>(x, mean, v, int(e), gamma, bias);
    }
};

namespace norm_stages {

template <class in_T, class codes_T, typename CONFIG_T, int CYCLES, class alpha_T, int ALPHAS, class square_T,
          int SQUARES>
void statistics(hls::stream<in_T> &data, hls::stream<codes_T> &codes, hls::stream<ailn_sums<CONFIG_T> > &sums,
                const alpha_T (&alpha)[ALPHAS], const square_T (&squares)[SQUARES], const int length) {
    #pragma HLS ARRAY_PARTITION variable=alpha cyclic factor=CONFIG_T::lanes
    #pragma HLS ARRAY_PARTITION variable=squares complete
    typedef ailn_sizes<CONFIG_T> sizes;
    HLS4ATTN_LATENCY(CONFIG_T::latency)
    typename row_code<in_T>::type x[CYCLES][CONFIG_T::lanes];
    #pragma HLS ARRAY_PARTITION variable=x complete dim=0
    typename sizes::lifted_t lifted[CYCLES][CONFIG_T::lanes];
    #pragma HLS ARRAY_PARTITION variable=lifted complete dim=0
    ailn_sums<CONFIG_T> sum;
    HLS4ATTN_PACK(sum)
    int row = 0, k = 0;
    for (int n = 0; n < CONFIG_T::rows * CYCLES && row != length; n++) {
        #pragma HLS PIPELINE II=1
        if (k == 0) {
            unpack(data.read(), x);
            sum.total = 0;
            sum.power = 0;
        }
        typename sizes::total_t total = 0;
        typename sizes::power_t power = 0;
        for (int i = 0; i < CONFIG_T::lanes; i++) {
            #pragma HLS UNROLL
            const int c = k * CONFIG_T::lanes + i;
            if (c < CONFIG_T::channels) { // a lane without a channel would add its zero point
                typename sizes::power_t square;
                lifted[k][i] = lifted_code<CONFIG_T>(x[k][i], alpha[c], squares, square);
                total += lifted[k][i];
                power += square;
            }
        }
        sum.total += total;
        sum.power += power;
        k++;
        if (k == CYCLES) {
            const codes_T word = pack<codes_T>(lifted);
            HLS4ATTN_PACK(word)
            codes.write(word);
            sums.write(sum);
            row++;
            k = 0;
        }
        HLS4ATTN_CYCLES(1)
    }
}

template <typename CONFIG_T, int CYCLES, class rsqrt_T, int ENTRIES>
void prepare(hls::stream<ailn_sums<CONFIG_T> > &sums, hls::stream<ailn_factors<CONFIG_T> > &factors,
             const rsqrt_T (&rsqrt)[ENTRIES], const int length) {
    HLS4ATTN_LATENCY(CONFIG_T::latency)
    for (int r = 0; r < CONFIG_T::rows && r != length; r++) {
        #pragma HLS PIPELINE II=CYCLES
        const ailn_sums<CONFIG_T> sum = sums.read();
        ailn_factors<CONFIG_T> made;
        HLS4ATTN_PACK(made)
        int e;
        made.mean = row_mean<CONFIG_T>(sum.total);
        made.v = ailn_inverse<CONFIG_T>(sum.power, made.mean, e, rsqrt);
        made.e = e;
        factors.write(made);
        HLS4ATTN_CYCLES(CYCLES)
    }
}

} // namespace norm_stages

template <class in_T, class res_T, typename CONFIG_T, class alpha_T, int ALPHAS, class square_T, int SQUARES,
          class rsqrt_T, int ENTRIES, class gamma_T, int GAMMAS, class bias_T, int BIASES, class scale_T, int SCALES,
          class offset_T, int OFFSETS, class length_T>
void ailayernorm(hls::stream<in_T> &data, hls::stream<res_T> &res, const alpha_T (&alpha)[ALPHAS],
                 const square_T (&squares)[SQUARES], const rsqrt_T (&rsqrt)[ENTRIES], const gamma_T (&gamma)[GAMMAS],
                 const bias_T (&bias)[BIASES], const scale_T (&scale)[SCALES], const offset_T (&offset)[OFFSETS],
                 const length_T length) {
    static_assert(norm_legal<CONFIG_T, typename in_T::value_type, GAMMAS, BIASES>::value, "ailayernorm: see above");
    static_assert(ailn_legal<CONFIG_T, ALPHAS>::value, "ailayernorm: see above");
    #pragma HLS DATAFLOW
    typedef norm_rows<in_T, res_T, CONFIG_T> sizes;
    typedef row<typename ailn_sizes<CONFIG_T>::lifted_t, CONFIG_T::channels> codes_t;
    hls::stream<codes_t> codes("codes");
    #pragma HLS STREAM variable=codes depth=sizes::waiting
    HLS4ATTN_DEPTH(codes, sizes::waiting)
    hls::stream<ailn_sums<CONFIG_T> > sums("sums");
    #pragma HLS STREAM variable=sums depth=2
    HLS4ATTN_DEPTH(sums, 2)
    hls::stream<ailn_factors<CONFIG_T> > factors("factors");
    #pragma HLS STREAM variable=factors depth=2
    HLS4ATTN_DEPTH(factors, 2)
    HLS4ATTN_PROCESS(
        norm_stages::statistics<in_T, codes_t, CONFIG_T, sizes::cycles>(data, codes, sums, alpha, squares, length))
    HLS4ATTN_PROCESS(norm_stages::prepare<CONFIG_T, sizes::cycles>(sums, factors, rsqrt, length))
    HLS4ATTN_PROCESS(norm_stages::affine<codes_t, ailn_factors<CONFIG_T>, res_T, CONFIG_T, sizes::cycles>(
        codes, factors, res, gamma, bias, scale, offset, length))
    HLS4ATTN_JOIN
}

} // namespace hls4attn

#endif
