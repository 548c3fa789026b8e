// SPDX-License-Identifier: Apache-2.0
//
// Streaming attention with the integer softmax: a row waits for its maximum, and once more for its sum.
//
//      score_slices --> row_maxima --scores, a row behind--> exponentials --e_j, a row behind--> scale_slices --> weigh
//                            |                               ^      |                            ^
//                            +-----------maximum-------------+      +--sum--> reciprocals --r----+
//
// Formula:  e_j = T[m - s_j],  r = (2^R + floor(S/2)) div S,  p_j = min( code_limit, (e_j * r + half) >> down ) as in
//           attn_softmax.h;  y_i = Q_y( tail( sum_j Q_p( p_ij ) * v_j ) )
// Cycles a sequence: sum over rows of G * slices(i) * R, as in attn_attention.h; the stages take 1 / R of that, the
// P dividers 1 / slices(i) of theirs, all overlapped: a row leaves two rows and the pipelines' depth after its scores.
// FIFOs of slices hold two units (a unit is one row of P heads), that of e_j also what comes in during a division.
// Source: softmax with the maximum subtracted, in integers.

#ifndef HLS4ATTN_ATTENTION_SOFTMAX_H_
#define HLS4ATTN_ATTENTION_SOFTMAX_H_

#include "attn_attention_products.h"
#include "attn_softmax.h"

namespace hls4attn {

struct attention_softmax_config : attention_config {
    static const int exp_frac = 15;
    static const int out_frac = 8;
    static const int guard = 3;
    static const int max_length = 1024;
    static const int code_limit = 255;
};

template <typename CONFIG_T> struct attention_softmax_sizes : attention_sizes<CONFIG_T> {
    typedef attention_sizes<CONFIG_T> sizes;
    typedef softmax_sizes<function_of<CONFIG_T> > numbers;
    typedef word<typename numbers::exp_t, sizes::scores> exp_word;
    typedef word<typename numbers::sum_t, sizes::P> sum_word;
    typedef word<typename numbers::ratio_t, sizes::P> ratio_word;
    static const int waiting_depth = 2 * sizes::slices;
    static const int exp_depth = 2 * sizes::slices + 2 * CONFIG_T::latency + 2;
    static const int maxima_depth = CONFIG_T::causal ? waiting_depth : 2; // the first units have one slice
    static const int ratio_depth = CONFIG_T::causal ? exp_depth : larger(exp_depth / sizes::slices, 2);
};

// e_j and their sum.
template <typename CONFIG_T, class table_T, int ENTRIES>
void exponentials(hls::stream<typename attention_sizes<CONFIG_T>::score_word> &waiting,
                  hls::stream<typename attention_sizes<CONFIG_T>::top_word> &maxima,
                  hls::stream<typename attention_softmax_sizes<CONFIG_T>::exp_word> &exps,
                  hls::stream<typename attention_softmax_sizes<CONFIG_T>::sum_word> &sums,
                  const table_T (&table)[ENTRIES], const int length) {
    HLS4ATTN_LATENCY(CONFIG_T::latency)
    // P*L look-ups a cycle.  Vivado HLS ignores this line: its ROM has two ports, II is ceil(P*L / 2) there.
    #pragma HLS BIND_STORAGE variable=table type=rom_np
    typedef attention_softmax_sizes<CONFIG_T> sizes;
    typedef typename sizes::numbers numbers;
    typename sizes::top_word top;
    typename sizes::sum_word sum;
    HLS4ATTN_PACK(sum)
    position<CONFIG_T, 1> at(length);
    for (int n = 0; n < at.most && at.more(); n++) {
        #pragma HLS PIPELINE II=1
        if (at.unit_starts()) {
            top = maxima.read();
        }
        const typename sizes::score_word x = waiting.read();
        typename sizes::exp_word e;
        HLS4ATTN_PACK(e)
        for (int p = 0; p < sizes::P; p++) {
            #pragma HLS UNROLL
            typename numbers::sum_t total = 0;
            for (int lane = 0; lane < sizes::L; lane++) {
                #pragma HLS UNROLL
                const int s = p * sizes::L + lane;
                const int below = int(top.lane[p]) - int(x.lane[s]);
                e.lane[s] = 0;
                if (at.sees(lane)) {
                    e.lane[s] = entry<numbers::exp>(table[at.head(p) * numbers::entries + below]);
                }
                total += e.lane[s];
            }
            if (!at.unit_starts()) {
                total += sum.lane[p];
            }
            sum.lane[p] = total;
        }
        exps.write(e);
        if (at.unit_ends()) {
            sums.write(sum);
        }
        at.step();
        HLS4ATTN_CYCLES(1)
    }
}

// One division a row and head.
template <typename CONFIG_T>
void reciprocals(hls::stream<typename attention_softmax_sizes<CONFIG_T>::sum_word> &sums,
                 hls::stream<typename attention_softmax_sizes<CONFIG_T>::ratio_word> &ratios, const int length) {
    HLS4ATTN_LATENCY(CONFIG_T::latency)
    typedef attention_softmax_sizes<CONFIG_T> sizes;
    const int units = length * sizes::groups;
    for (int n = 0; n < CONFIG_T::rows * sizes::groups && n != units; n++) {
        #pragma HLS PIPELINE II=1
        const typename sizes::sum_word sum = sums.read();
        typename sizes::ratio_word ratio;
        HLS4ATTN_PACK(ratio)
        for (int p = 0; p < sizes::P; p++) {
            #pragma HLS UNROLL
            ratio.lane[p] = reciprocal<function_of<CONFIG_T> >(sum.lane[p]);
        }
        ratios.write(ratio);
        HLS4ATTN_CYCLES(1)
    }
}

template <typename CONFIG_T>
void scale_slices(hls::stream<typename attention_softmax_sizes<CONFIG_T>::exp_word> &exps,
                  hls::stream<typename attention_softmax_sizes<CONFIG_T>::ratio_word> &ratios,
                  hls::stream<typename attention_sizes<CONFIG_T>::p_word> &probabilities, const int length) {
    HLS4ATTN_LATENCY(CONFIG_T::latency)
    typedef attention_softmax_sizes<CONFIG_T> sizes;
    typedef function_of<CONFIG_T> function;
    typename sizes::ratio_word ratio;
    position<CONFIG_T, 1> at(length);
    for (int n = 0; n < at.most && at.more(); n++) {
        #pragma HLS PIPELINE II=1
        if (at.unit_starts()) {
            ratio = ratios.read();
        }
        const typename sizes::exp_word e = exps.read();
        typename sizes::p_word result;
        HLS4ATTN_PACK(result)
        for (int s = 0; s < sizes::scores; s++) {
            #pragma HLS UNROLL
            result.lane[s] = requantise_code<typename sizes::p_t, function::sum_width, function::sum_frac>(
                probability<function>(e.lane[s], ratio.lane[s / sizes::L]));
        }
        probabilities.write(result);
        at.step();
        HLS4ATTN_CYCLES(1)
    }
}

template <class q_T, class k_T, class v_T, class res_T, typename CONFIG_T, class table_T, int ENTRIES,
          class score_scale_T, int SCORE_SCALES, class score_offset_T, int SCORE_OFFSETS, class scale_T, int SCALES,
          class offset_T, int OFFSETS, class length_T>
void attention_softmax(hls::stream<q_T> &q, hls::stream<k_T> &k, hls::stream<v_T> &v, hls::stream<res_T> &res,
                       const table_T (&table)[ENTRIES], const score_scale_T (&score_scale)[SCORE_SCALES],
                       const score_offset_T (&score_offset)[SCORE_OFFSETS], const scale_T (&scale)[SCALES],
                       const offset_T (&offset)[OFFSETS], const length_T length) {
    static_assert(attention_legal<CONFIG_T, q_T, k_T, v_T, res_T>::value, "attention_softmax: see above");
    static_assert(ENTRIES == CONFIG_T::heads * (1 << CONFIG_T::in_width), "attention_softmax: one table a head");
    static_assert(CONFIG_T::rows <= CONFIG_T::max_length, "attention_softmax: the row is longer than max_length");
    typedef attention_softmax_sizes<CONFIG_T> sizes;
    typedef typename sizes::key_bank key_bank;
    typedef typename sizes::value_bank value_bank;
    #pragma HLS DATAFLOW
    HLS4ATTN_BANK(key_bank, keys)
    #pragma HLS ARRAY_PARTITION variable=keys complete dim=1
    #pragma HLS ARRAY_RESHAPE variable=keys complete dim=3
    HLS4ATTN_BANK(value_bank, values)
    #pragma HLS ARRAY_PARTITION variable=values complete dim=1
    #pragma HLS ARRAY_RESHAPE variable=values complete dim=3
    hls::stream<typename sizes::score_word> scores("scores");
    #pragma HLS STREAM variable=scores depth=2
    HLS4ATTN_DEPTH(scores, 2)
    hls::stream<typename sizes::score_word> waiting("waiting");
    #pragma HLS STREAM variable=waiting depth=sizes::waiting_depth
    HLS4ATTN_DEPTH(waiting, sizes::waiting_depth)
    hls::stream<typename sizes::top_word> maxima("maxima");
    #pragma HLS STREAM variable=maxima depth=sizes::maxima_depth
    HLS4ATTN_DEPTH(maxima, sizes::maxima_depth)
    hls::stream<typename sizes::exp_word> exps("exps");
    #pragma HLS STREAM variable=exps depth=sizes::exp_depth
    HLS4ATTN_DEPTH(exps, sizes::exp_depth)
    hls::stream<typename sizes::sum_word> sums("sums");
    #pragma HLS STREAM variable=sums depth=2
    HLS4ATTN_DEPTH(sums, 2)
    hls::stream<typename sizes::ratio_word> ratios("ratios");
    #pragma HLS STREAM variable=ratios depth=sizes::ratio_depth
    HLS4ATTN_DEPTH(ratios, sizes::ratio_depth)
    hls::stream<typename sizes::p_word> probabilities("probabilities");
    #pragma HLS STREAM variable=probabilities depth=2
    HLS4ATTN_DEPTH(probabilities, 2)
    HLS4ATTN_PROCESS(load_keys<CONFIG_T>(k, HLS4ATTN_FILL(keys), length))
    HLS4ATTN_PROCESS(load_values<CONFIG_T>(v, HLS4ATTN_FILL(values), length))
    HLS4ATTN_PROCESS(score_slices<CONFIG_T>(q, HLS4ATTN_DRAIN(keys), scores, score_scale, score_offset, length))
    HLS4ATTN_PROCESS(row_maxima<CONFIG_T, 0>(scores, waiting, maxima, length))
    HLS4ATTN_PROCESS(exponentials<CONFIG_T>(waiting, maxima, exps, sums, table, length))
    HLS4ATTN_PROCESS(reciprocals<CONFIG_T>(sums, ratios, length))
    HLS4ATTN_PROCESS(scale_slices<CONFIG_T>(exps, ratios, probabilities, length))
    HLS4ATTN_PROCESS(weigh_slices<CONFIG_T, product_form<CONFIG_T> >(probabilities, HLS4ATTN_DRAIN(values), res, scale,
                                                                     offset, length))
    HLS4ATTN_JOIN
}

} // namespace hls4attn

#endif
