// SPDX-License-Identifier: Apache-2.0
//
// Streaming attention with ConSmax: scores become probabilities one by one, so P V starts with the first score.
//
//      K, V --> banks --+-----------------------------------------------+
//                       v                                               v
//      q --> score_slices --scores--> table look-up --probabilities--> weigh_slices --> y
//                                     j > i ? 0 (causal)
//
// Formula:  y_i = Q_y( tail( sum_j Q_p( T[s_ij] ) * v_j ) ),  T one table a head, or 16 entries for each nibble (split)
// Cycles a sequence: sum over rows of G * slices(i) * R, as in attn_attention.h; the look-up takes 1 / R of that and
// overlaps.  Latency: the first row leaves G * slices(0) * R cycles after K and V are loaded, and the pipelines' depth.
// Source: ConSmax, arXiv 2402.10930v3, section IV: no maximum and no sum that a row would wait for.

#ifndef HLS4ATTN_ATTENTION_CONSMAX_H_
#define HLS4ATTN_ATTENTION_CONSMAX_H_

#include "attn_attention_products.h"
#include "attn_consmax_split.h"

namespace hls4attn {

struct attention_consmax_config : attention_config {
    static const int code_min = -128; // code of table entry 0
    static const int entries = 256;   // of one head
};

struct attention_consmax_split_config : attention_config {
    static const int nibbles = 2;
    static const int mantissa_bits = 8;
    static const int shift_width = 8;
    static const int max_shift = 17;
    static const int code_limit = 255;
};

// One table a head.
template <typename CONFIG_T, class table_T, int ENTRIES>
void look_up_slices(hls::stream<typename attention_sizes<CONFIG_T>::score_word> &scores,
                    hls::stream<typename attention_sizes<CONFIG_T>::p_word> &probabilities,
                    const table_T (&table)[ENTRIES], const int length) {
    HLS4ATTN_LATENCY(CONFIG_T::latency)
    // P*L look-ups a cycle.  Vivado HLS ignores this line: its ROM has two ports, II is ceil(P*L / 2) there.
    #pragma HLS BIND_STORAGE variable=table type=rom_np
    typedef attention_sizes<CONFIG_T> sizes;
    typedef function_of<CONFIG_T> function;
    position<CONFIG_T, 1> at(length);
    for (int n = 0; n < at.most && at.more(); n++) {
        #pragma HLS PIPELINE II=1
        const typename sizes::score_word x = scores.read();
        typename sizes::p_word result;
        HLS4ATTN_PACK(result)
        for (int s = 0; s < sizes::scores; s++) {
            #pragma HLS UNROLL
            result.lane[s] = 0;
            if (at.sees(s % sizes::L)) {
                const int first = at.head(s / sizes::L) * CONFIG_T::entries - CONFIG_T::code_min;
                result.lane[s] = requantise_code<typename sizes::p_t, function::sum_width, function::sum_frac>(
                    entry<function::core_width>(table[first + int(x.lane[s])]));
            }
        }
        probabilities.write(result);
        at.step();
        HLS4ATTN_CYCLES(1)
    }
}

// 16 entries for each nibble of a score.
template <typename CONFIG_T, class mantissa_T, int MANTISSAS, class shift_T, int SHIFTS, class grid_T, int HEADS>
void split_slices(hls::stream<typename attention_sizes<CONFIG_T>::score_word> &scores,
                  hls::stream<typename attention_sizes<CONFIG_T>::p_word> &probabilities,
                  const mantissa_T (&mantissa)[MANTISSAS], const shift_T (&shift)[SHIFTS],
                  const grid_T (&head_shift)[HEADS], const int length) {
    HLS4ATTN_LATENCY(CONFIG_T::latency)
    #pragma HLS ARRAY_PARTITION variable=mantissa complete
    #pragma HLS ARRAY_PARTITION variable=shift complete
    #pragma HLS ARRAY_PARTITION variable=head_shift complete
    typedef attention_sizes<CONFIG_T> sizes;
    typedef function_of<CONFIG_T> function;
    position<CONFIG_T, 1> at(length);
    for (int n = 0; n < at.most && at.more(); n++) {
        #pragma HLS PIPELINE II=1
        const typename sizes::score_word x = scores.read();
        typename sizes::p_word result;
        HLS4ATTN_PACK(result)
        for (int s = 0; s < sizes::scores; s++) {
            #pragma HLS UNROLL
            result.lane[s] = 0;
            if (at.sees(s % sizes::L)) {
                result.lane[s] = requantise_code<typename sizes::p_t, function::sum_width, function::sum_frac>(
                    split_exponential<function>(int(x.lane[s]), at.head(s / sizes::L), mantissa, shift, head_shift));
            }
        }
        probabilities.write(result);
        at.step();
        HLS4ATTN_CYCLES(1)
    }
}

template <class q_T, class k_T, class v_T, class res_T, typename CONFIG_T, class table_T, int ENTRIES,
          class score_scale_T, int SCORE_SCALES, class score_offset_T, int SCORE_OFFSETS, class scale_T, int SCALES,
          class offset_T, int OFFSETS, class length_T>
void attention_consmax(hls::stream<q_T> &q, hls::stream<k_T> &k, hls::stream<v_T> &v, hls::stream<res_T> &res,
                       const table_T (&table)[ENTRIES], const score_scale_T (&score_scale)[SCORE_SCALES],
                       const score_offset_T (&score_offset)[SCORE_OFFSETS], const scale_T (&scale)[SCALES],
                       const offset_T (&offset)[OFFSETS], const length_T length) {
    static_assert(attention_legal<CONFIG_T, q_T, k_T, v_T, res_T>::value, "attention_consmax: see above");
    static_assert(ENTRIES == CONFIG_T::heads * CONFIG_T::entries, "attention_consmax: one table a head");
    static_assert(CONFIG_T::entries == (1 << (CONFIG_T::in_width - 1)) - CONFIG_T::code_min,
                  "attention_consmax: one table entry a code, from code_min to the largest");
    typedef attention_sizes<CONFIG_T> sizes;
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
    hls::stream<typename sizes::p_word> probabilities("probabilities");
    #pragma HLS STREAM variable=probabilities depth=2
    HLS4ATTN_DEPTH(probabilities, 2)
    HLS4ATTN_PROCESS(load_keys<CONFIG_T>(k, HLS4ATTN_FILL(keys), length))
    HLS4ATTN_PROCESS(load_values<CONFIG_T>(v, HLS4ATTN_FILL(values), length))
    HLS4ATTN_PROCESS(score_slices<CONFIG_T>(q, HLS4ATTN_DRAIN(keys), scores, score_scale, score_offset, length))
    HLS4ATTN_PROCESS(look_up_slices<CONFIG_T>(scores, probabilities, table, length))
    HLS4ATTN_PROCESS(weigh_slices<CONFIG_T, product_form<CONFIG_T> >(probabilities, HLS4ATTN_DRAIN(values), res, scale,
                                                                     offset, length))
    HLS4ATTN_JOIN
}

template <class q_T, class k_T, class v_T, class res_T, typename CONFIG_T, class mantissa_T, int MANTISSAS,
          class shift_T, int SHIFTS, class grid_T, int HEADS, class score_scale_T, int SCORE_SCALES,
          class score_offset_T, int SCORE_OFFSETS, class scale_T, int SCALES, class offset_T, int OFFSETS,
          class length_T>
void attention_consmax_split(hls::stream<q_T> &q, hls::stream<k_T> &k, hls::stream<v_T> &v, hls::stream<res_T> &res,
                             const mantissa_T (&mantissa)[MANTISSAS], const shift_T (&shift)[SHIFTS],
                             const grid_T (&head_shift)[HEADS], const score_scale_T (&score_scale)[SCORE_SCALES],
                             const score_offset_T (&score_offset)[SCORE_OFFSETS], const scale_T (&scale)[SCALES],
                             const offset_T (&offset)[OFFSETS], const length_T length) {
    static_assert(attention_legal<CONFIG_T, q_T, k_T, v_T, res_T>::value, "attention_consmax_split: see above");
    static_assert(consmax_split_legal<CONFIG_T, MANTISSAS, SHIFTS, HEADS>::value, "attention_consmax_split: see above");
    typedef attention_sizes<CONFIG_T> sizes;
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
    hls::stream<typename sizes::p_word> probabilities("probabilities");
    #pragma HLS STREAM variable=probabilities depth=2
    HLS4ATTN_DEPTH(probabilities, 2)
    HLS4ATTN_PROCESS(load_keys<CONFIG_T>(k, HLS4ATTN_FILL(keys), length))
    HLS4ATTN_PROCESS(load_values<CONFIG_T>(v, HLS4ATTN_FILL(values), length))
    HLS4ATTN_PROCESS(score_slices<CONFIG_T>(q, HLS4ATTN_DRAIN(keys), scores, score_scale, score_offset, length))
    HLS4ATTN_PROCESS(split_slices<CONFIG_T>(scores, probabilities, mantissa, shift, head_shift, length))
    HLS4ATTN_PROCESS(weigh_slices<CONFIG_T, product_form<CONFIG_T> >(probabilities, HLS4ATTN_DRAIN(values), res, scale,
                                                                     offset, length))
    HLS4ATTN_JOIN
}

} // namespace hls4attn

#endif
